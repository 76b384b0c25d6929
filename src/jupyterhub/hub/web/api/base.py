"""What all API handlers share: JSON in, JSON out, and pages of lists (reference: rest-api.md §0).

Who asks, and whether they may, is decided in ``hub/web/entry.py``; which error gives which status in
``hub/web/errors.py``.

A handler class says what its methods take and give in ``operations``; the OpenAPI document is made of that, of the
routes and of the scopes at the door (``hub/web/openapi.py``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from jupyterhub.hub.requester import Requester
from jupyterhub.hub.web import bodies, queries
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.hub.web.models import Page
from jupyterhub.words.errors import Invalid
from jupyterhub.words.models import Json, Window

log = logging.getLogger("jupyterhub.api")

T = TypeVar("T")

PAGINATION_TYPE = "application/jupyterhub-pagination+json"


class Absent(Enum):
    """What it means if a request has no body."""

    REFUSED = "refused"
    #: no body, or null: nothing is given
    ALLOWED = "allowed"
    #: so do ``false``, ``0``, ``""`` and ``[]``
    FALSY = "falsy"


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer, or a body, that is no JSON."""

    media_type: str
    description: str = ""
    #: the type of the parts that it consists of
    parts: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one endpoint. What is not said here follows from the route and from ``needs_scope``."""

    summary: str = field(kw_only=False)
    #: what is in the request's body, a dataclass of ``bodies`` as a rule; None: nothing
    body: Any = field(default=None, kw_only=False)
    #: more that people should know, in sentences
    description: str = ""
    without_body: Absent = Absent.ALLOWED
    query: type | None = None
    #: status of success → type of the JSON in the answer, None for an empty one
    answers: Mapping[int, Any] = field(default_factory=dict)
    #: status of a refusal → when, if there is more to say than what follows from scopes, path and body
    refusals: Mapping[int, str] = field(default_factory=dict)
    #: who may, if the method looks itself: scopes, one of which is enough; () for any token or cookie, None for anybody
    scopes: tuple[str, ...] | None = None
    #: the same in words
    access: str = ""
    #: plugins may answer with any other status too
    any_status: bool = False


def paged(things: Any) -> Any:
    """Give the type of a list that comes in pages for those who ask for them, and bare for others."""
    return things | Page[things]


class APIHandler(HubHandler):
    """Base of the API's handlers."""

    accepts_token = True
    is_api = True
    #: method (lower case) → what it does
    operations: ClassVar[Mapping[str, Operation]] = {}

    # -- in

    def body(self) -> Json:
        """Give the body parsed as JSON, None if it is empty; Invalid (400) if it is not JSON."""
        text = self.request.body.decode("utf-8", "replace").strip()
        if not text:
            return None
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise Invalid("Invalid JSON in body of request") from error

    def read_body(self, shape: type[T]) -> T:
        """Give the body as ``shape``; Invalid (400) if there is none."""
        value = self.body()
        if value is None:
            raise Invalid("This request needs a body: a JSON object.")
        return bodies.read(shape, value)

    def read_optional_body(self, shape: type[T]) -> T:
        """Give the body as ``shape``; no body, or null, means that nothing is given."""
        value = self.body()
        return bodies.read(shape, {} if value is None else value)

    def read_lenient_body(self, shape: type[T]) -> T:
        """Give the body as ``shape``; so does anything that is false in Python, as ever."""
        return bodies.read(shape, self.body() or {})

    def read_query(self, shape: type[T]) -> T:
        """Give the arguments of the query as ``shape``."""
        return queries.read(shape, lambda name: self.get_query_argument(name, None, strip=False))

    @property
    def asking(self) -> Requester:
        """Who asks, where the scopes have been checked already."""
        assert self.requester is not None
        return self.requester

    # -- pages of lists

    @property
    def accepts_pagination(self) -> bool:
        # Compared as a whole on purpose: with parameters it does not count (rest-api.md §0.6).
        parts = self.request.headers.get("Accept", "").lower().split(",")
        return PAGINATION_TYPE in [part.strip() for part in parts]

    def window(self) -> Window:
        """Give the part of a list that the query asks for."""
        settings = self.house.settings
        longest = settings.api_page_max_limit
        default = settings.api_page_default_limit if self.accepts_pagination else longest
        asked = self.read_query(queries.Paging)
        limit = default if asked.limit is None else abs(asked.limit)
        return Window(offset=min(abs(asked.offset), 2**53), limit=min(max(limit, 1), longest))

    def answer_list(
        self, items: Sequence[Json] | Mapping[str, Json], total: int, window: Window, *, always_wrapped: bool = False
    ) -> None:
        """Answer one page: bare as in early versions, or wrapped with where it lies, as the client asks for."""
        if not (always_wrapped or self.accepts_pagination):
            if window.offset == 0 and total > window.limit:
                log.warning(
                    "%s: answered %d of %d; the client did not ask for pages", self.request.path, window.limit, total
                )
            self.answer(items)
            return
        self.answer(self.page_of(items, total, window))

    def page_of(self, items: Sequence[Json] | Mapping[str, Json], total: int, window: Window) -> Json:
        """Wrap one page of a list, with where it lies and the URL of the next one."""
        following = window.offset + window.limit
        next_page = None
        if following < total:
            next_page = {"offset": following, "limit": window.limit, "url": self._url_at(following, window.limit)}
        pagination = {"offset": window.offset, "limit": window.limit, "total": total, "next": next_page}
        return {"items": items, "_pagination": pagination}

    def _url_at(self, offset: int, limit: int) -> str:
        parts = urlsplit(self.request.full_url())
        query = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in ("offset", "limit")]
        query += [("offset", str(offset)), ("limit", str(limit))]
        return urlunsplit(parts._replace(query=urlencode(query)))

    # -- out

    def answer(self, model: Json = None, *, status: int = 200) -> None:
        """Answer with a model as JSON, or with an empty body. Nothing may be written after it."""
        self.set_status(status)
        if status == 204:
            self.clear_header("Content-Type")
        else:
            self.set_header("Content-Type", "application/json")
        if model is None:
            self.finish()
        else:
            self.finish(json.dumps(model, default=_plain))

    def options(self, *args: Any, **kwargs: Any) -> None:
        """Answer that the address exists, to anybody."""
        self.answer()


def _plain(value: object) -> Json:
    # Options that came with a form can hold the bytes of an uploaded file.
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _refuse_constant(name: str) -> Json:
    # Python's parser takes NaN and Infinity, which no other one would read back.
    raise ValueError(f"{name} is not JSON")
