"""Names of users, servers and groups, and the rules a name must meet.

Validation happens where a name enters (login, REST, configuration); everything behind can rely on it. Looking a name
up never normalises it: paths are case-sensitive (reference: rest-api.md §0.1).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote, unquote

#: a new server's name: starts with a letter, ends with a letter or digit, no ``--``, at most 30 characters
_SERVER_NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){0,28}[a-z0-9]|[a-z]")

#: 3 to 255 characters; ASCII lower case first, lower case or digit last
_ROLE_NAME = re.compile(r"[a-z][a-z0-9\-_~.]{1,253}[a-z0-9]")


#: of users and groups, in the database
MAX_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class ServerKey:
    """Which server: its owner's name and its own; ``""`` is the owner's default server."""

    user: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.user}:{self.name}" if self.name else self.user

    @property
    def scope_value(self) -> str:
        """The ``owner/name`` that ``!server=`` filters compare with."""
        return f"{self.user}/{self.name}"


def is_valid_user_name(name: str) -> bool:
    """Say whether a (normalised) user name can be used in URLs: not empty, no slash, not only dots, no outer spaces.

    The percent-decoded form must not be only dots either: proxies and browsers resolve ``%2e%2e`` as ``..``. At most
    255 characters, which is what the column takes; none that controls something or is half of one.
    """
    if not 0 < len(name) <= MAX_NAME_LENGTH or "/" in name or name != name.strip():
        return False
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return False
    return bool(name.strip(".")) and bool(unquote(name).strip("."))


def is_valid_new_server_name(name: str) -> bool:
    return len(name) <= 30 and _SERVER_NAME.fullmatch(name) is not None


def normalise_display_name(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def is_valid_display_name(name: str) -> bool:
    """Say whether a (normalised) label can be shown: 1 to 255 printable characters, single inner spaces only."""
    if not 1 <= len(name) <= 255 or name != name.strip(" ") or "  " in name:
        return False
    return all(c == " " or (c.isprintable() and not c.isspace()) for c in name)


def is_valid_role_name(name: str) -> bool:
    return _ROLE_NAME.fullmatch(name) is not None


def escape_user(name: str) -> str:
    """Percent-encode a user or server name for a URL path; ``@`` and ``~`` stay as they are."""
    return quote(name, safe="@~")


def oauth_client_id(key: ServerKey) -> str:
    """The OAuth client of a server (and the name of its cookie): ``jupyterhub-user-NAME[-SERVER]``."""
    client_id = f"jupyterhub-user-{quote(key.user, safe='')}"
    return f"{client_id}-{quote(key.name, safe='')}" if key.name else client_id
