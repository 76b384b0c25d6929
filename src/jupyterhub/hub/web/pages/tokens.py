"""The page of a person's tokens: what they made themselves, and what they have let act for them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jupyterhub.hub.web.entry import needs_login
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.words.clock import utcnow
from jupyterhub.words.models import Token

#: what the page offers, in seconds; 0 stands for "never"
EXPIRY_CHOICES = ((3600, "1 Hour"), (86400, "1 Day"), (604800, "1 Week"), (2592000, "1 Month"), (31536000, "1 Year"))


@dataclass(frozen=True)
class TokenView:
    """A token as templates read it: the names of the original's rows."""

    api_id: str
    note: str
    scopes: list[str]
    created: datetime | None
    last_activity: datetime | None
    expires_at: datetime | None


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
        await self.render_page(
            "token.html",
            api_tokens=[_view(token) for token in sorted(own, key=_last_use, reverse=True)],
            oauth_clients=_by_client([token for token in tokens if token not in own]),
            token_expires_in_options_html=expiry_options(limit_s),
            token_expires_in_max_seconds=limit_s,
            auth_state=await self.auth_state(),
        )


def expiry_options(limit_s: int) -> str:
    """The choices as HTML: those within the limit, and the limit itself if none is exactly that; the last is chosen."""
    choices = [(str(seconds), text) for seconds, text in EXPIRY_CHOICES if not limit_s or seconds <= limit_s]
    if not limit_s:
        choices.append(("", "Never"))
    elif all(seconds != limit_s for seconds, _ in EXPIRY_CHOICES):
        choices.append(("", f"Max ({_in_words(limit_s)})"))
    last = len(choices) - 1
    return "\n".join(
        f'<option value="{value}"{" selected" if i == last else ""}>{text}</option>'
        for i, (value, text) in enumerate(choices)
    )


def _in_words(seconds: int) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"


def _view(token: Token) -> TokenView:
    return TokenView(
        api_id=token.public_id,
        note=token.note or "",
        scopes=list(token.scopes),
        created=token.created,
        last_activity=token.last_activity,
        expires_at=token.expires_at,
    )


def _by_client(tokens: list[Token]) -> list[dict[str, Any]]:
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
                "tokens": [_view(t) for t in issued],
                "token_id": issued[0].public_id,
                "token_count": len(issued),
            }
        )
    return entries


def _last_use(token: Token) -> tuple[bool, float]:
    when = token.last_activity or token.created
    return (when is not None, when.timestamp() if when else 0.0)
