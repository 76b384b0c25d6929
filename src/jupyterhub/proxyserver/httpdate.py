"""The current time as HTTP writes it (RFC 9110 §5.6.7), formatted once a second however often it is asked for."""

from __future__ import annotations

import time
from email.utils import formatdate

_second = 0
_formatted = b""


def http_date() -> bytes:
    global _second, _formatted
    now = int(time.time())
    if now != _second:
        _second, _formatted = now, formatdate(now, usegmt=True).encode()
    return _formatted
