"""A database that is away: whoever asked is told to try again, instead of what its driver says about it.

A connection that is cut, a server that restarts or fails over, a pool that has none to give: the transaction is over,
the next one may work. Whether a commit that was on its way has happened is not known then.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from jupyterhub.words.errors import Unavailable

#: what the client is told: a database that restarts, or its replacement, is there after seconds
RETRY_AFTER_S = 5

#: classes of SQLSTATE that mean that the server cannot serve anybody now: no connection, out of something, going away
_AWAY = ("08", "53", "57P")


def told_as_unavailable(error: BaseException | None) -> None:
    """Raise Unavailable if this error, which ends a transaction, means that the database is away."""
    if isinstance(error, DBAPIError | NoConnectionFree | OSError):
        is_away = _is_away(error)
    else:
        # drivers raise some of their own when they connect
        is_away = isinstance(error, Exception) and str(getattr(error, "sqlstate", None) or "").startswith(_AWAY)
    if is_away:
        raise Unavailable("The database does not answer. Try again.", retry_after_s=RETRY_AFTER_S) from error


def _is_away(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return True
    if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        return True
    return error.connection_invalidated or str(getattr(error.orig, "sqlstate", None) or "").startswith(_AWAY)
