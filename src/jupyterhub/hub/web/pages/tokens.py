"""The page of a person's tokens: what they made themselves, and what they have let act for them."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jupyterhub.hub.web.entry import needs_login
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.rbac.descriptions import Say, ScopeDescription, describe
from jupyterhub.rbac.scopes import NO_SCOPE, SELF, ScopeRegistry
from jupyterhub.words.clock import utcnow
from jupyterhub.words.models import Token

#: what the page offers, in seconds, besides "never"
EXPIRY_S = (3600, 86400, 604800, 2592000, 31536000)


@dataclass(frozen=True)
class TokenView:
    """A token as templates read it: the names of the original's rows."""

    api_id: str
    note: str
    scopes: list[str]
    created: datetime | None
    last_activity: datetime | None
    expires_at: datetime | None
    #: what it may do, in words
    scope_descriptions: list[ScopeDescription]


@dataclass(frozen=True)
class SessionView:
    """Another browser that has been let into servers or services in the user's name."""

    #: what it was let into
    applications: list[str]
    created: datetime | None
    last_activity: datetime | None


class TokenPageHandler(HubHandler):
    """``GET hub/token``"""

    metrics_name = "jupyterhub.handlers.pages.TokenPageHandler"

    @needs_login
    async def get(self) -> None:
        house = self.house
        async with house.store.begin() as tx:
            await tx.tokens.delete_expired(utcnow())
            tokens = await tx.tokens.list_of("user", self.user.id)
        own = [token for token in tokens if token.client_id in (None, "jupyterhub")]
        limit_s = house.settings.token_expires_in_max_seconds
        assert self.requester is not None
        coarse, fine = _choices(self.requester.scopes.raw, house.registry, self.user.name, self.say)
        await self.render_page(
            "token.html",
            api_tokens=[self._view(token) for token in sorted(own, key=_last_use, reverse=True)],
            oauth_clients=self._by_client([token for token in tokens if token not in own]),
            other_sessions=_other_sessions(tokens, self.session_id),
            coarse_scopes=coarse,
            fine_scopes=fine,
            token_expires_in_options_html=expiry_options(limit_s, self.say),
            token_expires_in_max_seconds=limit_s,
            auth_state=await self.auth_state(),
        )

    def _view(self, token: Token) -> TokenView:
        return TokenView(
            api_id=token.public_id,
            note=token.note or "",
            scopes=list(token.scopes),
            created=token.created,
            last_activity=token.last_activity,
            expires_at=token.expires_at,
            scope_descriptions=describe(token.scopes, self.house.registry, user=self.user.name, say=self.say),
        )

    def _by_client(self, tokens: list[Token]) -> list[dict[str, Any]]:
        """One entry for each application, however often it was authorized."""
        clients: dict[str, list[Token]] = defaultdict(list)
        for token in tokens:
            clients[token.client_id or ""].append(token)
        entries = []
        for client_id, issued in clients.items():
            created = min((t.created for t in issued if t.created), default=None)
            entries.append(
                {
                    "client": client_id,
                    "description": issued[0].client_description or client_id,
                    "created": created,
                    "last_activity": max((t.last_activity for t in issued if t.last_activity), default=None),
                    "tokens": [self._view(t) for t in issued],
                    "token_id": issued[0].public_id,
                    "token_count": len(issued),
                    "scope_descriptions": describe(
                        {scope for t in issued for scope in t.scopes},
                        self.house.registry,
                        user=self.user.name,
                        say=self.say,
                    ),
                }
            )
        return entries


class EndSessionsHandler(HubHandler):
    """``POST hub/token/end-sessions``: log out all other browsers of the user, and the servers they were let into."""

    @needs_login
    async def post(self) -> None:
        user = self.user
        async with self.house.store.begin() as tx:
            await tx.users.renew_cookie_id(user.id)
            ended = await tx.tokens.delete_of_other_sessions(user.id, self.session_id)
            renewed = await tx.users.find_by_id(user.id)
        assert renewed is not None
        self.log.info("%s has ended all other sessions, with %d tokens", user.name, ended)
        self.set_login_of(renewed)
        await self.now_logged_in(renewed)
        self.redirect(f"{self.house.settings.hub_prefix}token?sessions=ended")


def expiry_options(limit_s: int, say: Say) -> str:
    """The choices as HTML: those within the limit, and the limit itself if none is exactly that; the last is chosen."""
    texts = (say("1 Hour"), say("1 Day"), say("1 Week"), say("1 Month"), say("1 Year"))
    offered = zip(EXPIRY_S, texts, strict=True)
    choices = [(str(seconds), text) for seconds, text in offered if not limit_s or seconds <= limit_s]
    if not limit_s:
        choices.append(("", say("Never")))
    elif limit_s not in EXPIRY_S:
        choices.append(("", say("Max (%(time)s)", time=_in_words(limit_s, say))))
    last = len(choices) - 1
    return "\n".join(
        f'<option value="{value}"{" selected" if i == last else ""}>{html.escape(text)}</option>'
        for i, (value, text) in enumerate(choices)
    )


def _in_words(seconds: int, say: Say) -> str:
    if seconds >= 86400:
        return say("1 day") if seconds < 2 * 86400 else say("%(n)s days", n=seconds // 86400)
    if seconds >= 3600:
        return say("1 hour") if seconds < 2 * 3600 else say("%(n)s hours", n=seconds // 3600)
    if seconds >= 60:
        return say("1 minute") if seconds < 2 * 60 else say("%(n)s minutes", n=seconds // 60)
    return say("%(n)s seconds", n=seconds)


def _last_use(token: Token) -> tuple[bool, float]:
    when = token.last_activity or token.created
    return (when is not None, when.timestamp() if when else 0.0)


def _other_sessions(tokens: list[Token], session_id: str | None) -> list[SessionView]:
    """What is known of the user's other browsers: the tokens they were given; the last used comes first."""
    by_session: dict[str, list[Token]] = defaultdict(list)
    for token in tokens:
        if token.session_id is not None and token.session_id != session_id:
            by_session[token.session_id].append(token)
    sessions = [
        SessionView(
            applications=sorted({t.client_description or t.client_id or "" for t in issued}),
            created=min((t.created for t in issued if t.created), default=None),
            last_activity=max((t.last_activity for t in issued if t.last_activity), default=None),
        )
        for issued in by_session.values()
    ]
    return sorted(sessions, key=lambda s: s.last_activity.timestamp() if s.last_activity else 0.0, reverse=True)


def _choices(
    held: Iterable[str], registry: ScopeRegistry, user: str, say: Say
) -> tuple[list[ScopeDescription], list[ScopeDescription]]:
    """Give the scopes that a new token may be limited to: those that contain others, and those that are contained."""
    scopes = sorted(scope for scope in held if scope != SELF)
    coarse = [d for d in describe(scopes, registry, user=user, say=say) if d["scope"] != NO_SCOPE]
    shown = {d["scope"] for d in coarse}
    fine = [d for scope in scopes if scope not in shown for d in describe([scope], registry, user=user, say=say)]
    return coarse, [d for d in fine if d["scope"] != NO_SCOPE]
