"""How the hub's log looks and which loggers write it (reference: metrics-events.md §3).

``[I 2026-11-23 06:24:34.443 JupyterHub app:349] message`` on stderr, coloured on a terminal. The applications in
``app.py`` ask here; what is logged is decided where it happens. The line of each request is in
``hub/web/access_log.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tornado.log import LogFormatter

FORMAT = "%(color)s[%(levelname)1.1s %(asctime)s.%(msecs)03d %(name)s %(module)s:%(lineno)d]%(end_color)s %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"

#: The name under which people know our lines, and the logger that plugins get as ``self.log``.
NAME = "JupyterHub"

#: What writes to the hub's log. Other libraries keep Python's default: warnings and worse, plainly, on stderr.
LOGGERS = (NAME, "jupyterhub", "tornado", "asyncio", "alembic", "sqlalchemy", "py.warnings")
#: of these only what someone should see, unless the hub itself is set to show less
FOREIGN = {"asyncio": logging.WARNING, "sqlalchemy": logging.WARNING, "tornado": logging.INFO}


class CoroutineLogFormatter(LogFormatter):
    """Formats a record as above. Our own loggers are all called ``JupyterHub``, whatever room they stand in."""

    def format(self, record: logging.LogRecord) -> str:
        name = record.name
        if name.startswith("jupyterhub."):
            record.name = NAME
        try:
            return super().format(record)
        finally:
            record.name = name


def level_number(level: int | str) -> int:
    """A level as a number, also if it is given by name."""
    return logging.getLevelNamesMapping()[level] if isinstance(level, str) else level


def logging_config(*, level: int, log_format: str, date_format: str) -> dict[str, Any]:
    """Give the ``logging.config.dictConfig`` dictionary of the hub."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "console": {
                "class": f"{CoroutineLogFormatter.__module__}.{CoroutineLogFormatter.__name__}",
                "format": log_format,
                "datefmt": date_format,
            }
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "console",
                "level": level,
                "stream": "ext://sys.stderr",
            }
        },
        "loggers": {
            name: {"level": max(level, FOREIGN.get(name, level)), "handlers": ["console"], "propagate": False}
            for name in LOGGERS
        },
    }


@contextmanager
def without(logger: logging.Logger, beginning: str) -> Iterator[None]:
    """Keep messages that begin so out of the log for a while."""

    def others(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(beginning)

    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)


def add_handlers(handlers: Iterable[logging.Handler], *, log_format: str, date_format: str) -> None:
    """Let further handlers (``extra_log_handlers``) have the hub's log too.

    One without a format of its own gets the hub's, without colours. One that asks for more than the console shows gets
    more: its level lowers that of our loggers.
    """
    for handler in handlers:
        if handler.formatter is None:
            handler.setFormatter(CoroutineLogFormatter(fmt=log_format, datefmt=date_format, color=False))
        for name in LOGGERS:
            logger = logging.getLogger(name)
            if handler not in logger.handlers:
                logger.addHandler(handler)
            if handler.level and name not in FOREIGN:
                logger.setLevel(min(logger.level, handler.level))
