"""Joining, escaping and comparing URLs. Redirect targets given by a browser are judged in ``hub/web/next_url.py``."""

from __future__ import annotations

from .names import ServerKey, escape_user


def url_path_join(*pieces: str) -> str:
    """Join path pieces with single slashes, keeping a leading slash of the first and a trailing one of the last."""
    stripped = [piece.strip("/") for piece in pieces]
    result = "/".join(piece for piece in stripped if piece)
    if pieces and pieces[0].startswith("/"):
        result = "/" + result
    if pieces and pieces[-1].endswith("/") and not result.endswith("/"):
        result += "/"
    return result


def user_path(base_url: str, user: str) -> str:
    """``{base_url}user/{name}/``: what all servers of a user live under."""
    return f"{base_url}user/{escape_user(user)}/"


def server_path(base_url: str, key: ServerKey) -> str:
    """``{base_url}user/{name}/[{server}/]``: the public path of one server."""
    path = user_path(base_url, key.user)
    return f"{path}{escape_user(key.name)}/" if key.name else path


def server_progress_path(hub_prefix: str, key: ServerKey) -> str:
    """The progress stream of a server below ``{base_url}hub/``."""
    user = escape_user(key.user)
    tail = f"servers/{escape_user(key.name)}/progress" if key.name else "server/progress"
    return f"{hub_prefix}api/users/{user}/{tail}"
