"""The public name of what formats the hub's log and logs requests; it lives in ``cli`` and ``hub/web``."""

from .cli.logging import CoroutineLogFormatter
from .hub.web.access_log import log_request

__all__ = ["CoroutineLogFormatter", "log_request"]
