"""The event log: who started and stopped which server, for programs that count or bill (metrics-events.md §2).

Built on jupyter_events, whose imports cost more than all of ours: it is loaded only when ``c.EventLogger`` configures
handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCHEMA_ID = "https://schema.jupyter.org/jupyterhub/events/server-action"

SCHEMA: dict[str, Any] = {
    "$id": SCHEMA_ID,
    "version": "1",
    "title": "What people do with their servers",
    "description": "A server has started, or has been stopped on request.",
    "personal-data": True,
    "type": "object",
    "required": ["action", "username", "servername"],
    "properties": {
        "action": {"enum": ["start", "stop"], "description": "What happened."},
        "username": {"type": "string", "description": "The owner's name, as the authenticator normalises it."},
        "servername": {"type": "string", "description": "The server's name; empty for the default server."},
    },
}


def make_event_logger(app: Any) -> Any:
    """Give the configured event logger; None when the configuration says nothing of one."""
    if not app.config.get("EventLogger", {}).get("handlers"):
        return None
    from jupyter_events import EventLogger  # only where it is used: see above

    logger = EventLogger(parent=app)
    logger.register_event_schema(SCHEMA)
    return logger


def emitter(logger: Any) -> Callable[[str, str, str], None] | None:
    """Give ``emit(action, user, server)``; None without a logger."""
    if logger is None:
        return None

    def emit(action: str, user: str, server: str) -> None:
        data = {"action": action, "username": user, "servername": server}
        logger.emit(schema_id=SCHEMA_ID, data=data)

    return emit
