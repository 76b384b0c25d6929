"""How long things may take and how many there may be: the limits of the public side."""

from __future__ import annotations

from dataclasses import dataclass

NEVER = float("inf")
#: for a connection to an upstream
CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds, and numbers."""

    #: from the accepted connection to the first byte of a request
    first_byte_s: float = 60.0
    #: from the first byte of a head to its end
    head_s: float = 60.0
    #: between an answer and the next request
    keep_alive_s: float = 5.0
    #: between two pieces of a request body
    body_s: float = 300.0
    #: for a client to take something of what waits to be sent to it
    write_s: float = 300.0
    #: after an answer that came before the request's end, for the client to see it (RFC 9112 §9.6)
    linger_s: float = 2.0
    #: for something to move in the other direction, after one has been shut down. Who has closed only half of the
    #: connection still gets the answer; until we write, who has gone looks the same, so it must not be for ever.
    half_closed_s: float = 10.0
    #: ``--timeout``: nothing moves on the client's connection; None for never
    silence_s: float | None = None
    #: ``--proxy-timeout``: the upstream says nothing while its answer is awaited; None for never
    upstream_silence_s: float | None = None
    #: a WebSocket on which nothing moved for so long gets a ping; 0 for never
    ping_s: float = 0.0
    #: of a request
    max_head_bytes: int = 64 * 1024
    #: open connections of clients, in total and from one address; 0 for any number
    max_connections: int = 0
    max_connections_per_client: int = 0

    @property
    def granularity_s(self) -> float:
        """How often deadlines must be looked at to be met well enough."""
        given = [
            self.first_byte_s,
            self.head_s,
            self.keep_alive_s,
            self.body_s,
            self.write_s,
            self.linger_s,
            self.half_closed_s,
            self.silence_s,
            self.upstream_silence_s,
            self.ping_s,
        ]
        return max(0.02, min(1.0, *(limit / 4 for limit in given if limit)))
