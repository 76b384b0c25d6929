"""All rows."""

from __future__ import annotations

import rows_answers
import rows_forwarding
import rows_framing
import rows_heads
from rows import Row

REQUESTS: list[Row] = [*rows_heads.ROWS, *rows_framing.ROWS, *rows_forwarding.ROWS]
ANSWERS: list[Row] = rows_answers.ROWS
ROWS = [*REQUESTS, *ANSWERS]
