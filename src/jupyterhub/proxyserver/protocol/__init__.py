"""The proxy's brain: bytes and events in, decisions out. Nothing here knows a socket or an event loop.

From the ground up: ``heads`` (what a message head is, and what its body's framing is), ``bodies`` (where a body ends),
``reading`` (bytes → heads and pieces of bodies), ``targets`` and ``routes`` (where a request goes), ``fields`` (what is
changed in heads that pass), ``exchange`` (one request and its answer), ``frames`` (borders of WebSocket frames).
"""
