"""Who is asking: a user or a service, by cookie or by token, with what they may do at this moment.

A value that lives for one request. ``hub/requesters.py`` makes it, ``hub/web/entry.py`` asks it at the door, the domain
asks it where a rule depends on the requester. Nothing behind the door knows how it came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jupyterhub.rbac.scope_set import NOWHERE, ListFilter, ScopeSet, Target
from jupyterhub.words.models import Service, Token, User


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    kind: Literal["user", "service"]
    id: int
    name: str
    #: the flag, not the role: what granting admin rights asks for
    admin: bool
    scopes: ScopeSet
    #: what they came with; None for a login cookie
    token: Token | None = None
    #: the browser session: that of the cookie, or the one in which an OAuth token was issued
    session_id: str | None = None
    #: the row, for users
    user: User | None = None
    #: the row, for services
    service: Service | None = None

    @property
    def by_cookie(self) -> bool:
        return self.token is None

    def may(self, scope: str, on: Target = NOWHERE) -> bool:
        return self.scopes.covers(scope, on)

    def list_filter(self, scope: str) -> ListFilter:
        return self.scopes.list_filter(scope)

    def is_user(self, name: str) -> bool:
        """Say whether this is the user of that name; a service of the same name is somebody else."""
        return self.kind == "user" and self.name == name
