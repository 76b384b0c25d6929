"""Borders of WebSocket frames, in whatever pieces they arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jupyterhub.proxyserver.protocol.frames import FrameBorders


@st.composite
def frames(draw) -> bytes:
    size = draw(st.sampled_from([0, 1, 125, 126, 300, 65535, 65536]))
    is_masked = draw(st.booleans())
    mask = 0x80 if is_masked else 0
    if size < 126:
        header = bytes([0x81, mask | size])
    elif size < 65536:
        header = bytes([0x82, mask | 126]) + size.to_bytes(2, "big")
    else:
        header = bytes([0x02, mask | 127]) + size.to_bytes(8, "big")
    return header + (b"mask" if is_masked else b"") + b"\x89" * size


@given(st.lists(frames(), max_size=4), st.lists(st.integers(0, 200_000), max_size=8))
def test_borders_are_where_frames_end_and_nowhere_else(sent, cuts):
    data = b"".join(sent)
    ends, at = {0}, 0
    for frame in sent:
        at += len(frame)
        ends.add(at)
    borders, begin = FrameBorders(), 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        borders.feed(data[begin:cut])
        begin = cut
        assert borders.is_at_border is (cut in ends)
