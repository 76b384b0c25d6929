"""How hub, broker and zygote talk: JSON messages with file descriptors, on sockets that keep messages apart.

SOCK_SEQPACKET gives whole messages or nothing, so there is no framing to get wrong. Nothing secret is in a message (a
server's environment travels in a memory file of its own, which only the new server's process reads).
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

#: both sides say it in their first message; a hub that meets another number starts a broker of its own
PROTOCOL = 1
#: the largest message; what is larger belongs into a file descriptor
MOST_BYTES = 64 * 1024
MOST_FDS = 8

Message = dict[str, Any]


class Closed(Exception):
    """The other side is gone."""


def send(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message; BlockingIOError if the other side does not read, Closed if it is gone."""
    data = json.dumps(message).encode()
    if len(data) > MOST_BYTES:
        raise ValueError(f"a message of {len(data)} bytes is too long")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError) as error:
        raise Closed from error


def receive(sock: socket.socket) -> tuple[Message, list[int]]:
    """Take one message and the descriptors that came with it (close-on-exec). Closed at the end; BlockingIOError."""
    try:
        data, ancillary, flags, _ = sock.recvmsg(
            MOST_BYTES, socket.CMSG_SPACE(MOST_FDS * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError as error:
        raise Closed from error
    fds = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    received = list(fds)
    try:
        if not data:
            raise Closed
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("a message was cut off")
        message = json.loads(data)
        if not isinstance(message, dict):
            raise ValueError("a message is an object")
    except BaseException:
        close_all(received)
        raise
    return message, received


def close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


@contextlib.contextmanager
def closing(fds: Iterable[int]) -> Iterator[None]:
    """Close descriptors at the end: those that came with a message, once they have been handed on."""
    try:
        yield
    finally:
        close_all(fds)


def to_memory_file(content: Message) -> int:
    """Write something that must not be in anybody else's memory into a file that has no name."""
    data = json.dumps(content).encode()
    fd = os.memfd_create("request", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def from_memory_file(fd: int) -> Message:
    size = os.fstat(fd).st_size
    data = bytearray()
    while len(data) < size:
        part = os.pread(fd, size - len(data), len(data))
        if not part:
            break
        data += part
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("a request is an object")
    return found
