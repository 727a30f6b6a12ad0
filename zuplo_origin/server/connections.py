"""Closing idle connections before a worker has none left to accept."""

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Container, Iterator
from contextlib import suppress

CHECK_SECONDS = 0.25
CLOSE_FROM, CLOSE_TO = 0.9, 0.8
"""Shares of the connections that a worker holds: at the first, idle ones are closed until the second is reached."""

_DESCRIPTORS = "/proc/self/fd"
_UNACKED, _LAST_DATA_SENT, _LAST_DATA_RECEIVED = 24, 44, 52
"""Offsets of a number and of two times in milliseconds in ``struct tcp_info`` (linux/tcp.h), whose layout is part of
Linux' interface. For a socket that listens, ``tcpi_unacked`` is the length of its accept backlog.
"""
BACKLOG_SECONDS = 1.0
"""Time for the accept backlog to become empty."""

Address = tuple[str, str]
"""The address and the port of a client, as granian spells them in an ASGI scope."""


def watch(port: int, limit: int, busy: Container[Address]) -> None:
    """Keep new connections acceptable, in a thread: on Linux, where a process can look up its own connections.

    ``limit`` is the number of connections to ``port`` that granian holds, after which it accepts no more. ``busy``
    holds the addresses of the clients whose requests are under way.
    """
    if os.path.isdir(_DESCRIPTORS):
        threading.Thread(target=_watch, args=(port, limit, busy), name="connections", daemon=True).start()


def _watch(port: int, limit: int, busy: Container[Address]) -> None:
    while True:
        time.sleep(CHECK_SECONDS)
        if len(os.listdir(_DESCRIPTORS)) >= limit * CLOSE_FROM:
            close_idle(port, limit, busy)


def close_idle(port: int, limit: int, busy: Container[Address]) -> None:
    """Close the connections that have been idle longest, when there are too many."""
    found = list(_connections(port))
    if len(found) >= limit * CLOSE_FROM:
        idle = sorted((each for each in found if each[1] not in busy), reverse=True)
        for _, _, descriptor in idle[: len(found) - int(limit * CLOSE_TO)]:
            with suppress(OSError), _duplicate(descriptor) as connection:
                if _is_of(connection, port):  # it may be another one's by now
                    connection.shutdown(socket.SHUT_RDWR)


def stop_listening(port: int) -> None:
    """Stop listening on ``port`` at a moment when the accept backlog is empty: on Linux, and otherwise not at all.

    granian closes its listening socket and the connections that have not sent a request yet in one step: a client that
    has just connected would be reset. So each file descriptor of that socket becomes one of a socket that nobody can
    connect to, and what has been accepted has time to send its request before granian stops.
    """
    if not os.path.isdir(_DESCRIPTORS):
        return
    with socket.socket(socket.AF_UNIX) as unreachable:
        unreachable.bind("")  # a name of the kernel's choice, in no file system
        unreachable.listen(1)
        unreachable.setblocking(False)
        for descriptor in map(int, os.listdir(_DESCRIPTORS)):
            with suppress(OSError), _duplicate(descriptor) as listening:
                if listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and listening.getsockname()[1] == port:
                    end = time.monotonic() + BACKLOG_SECONDS
                    while _info(listening, _UNACKED) and time.monotonic() < end:
                        time.sleep(0)
                    os.dup2(unreachable.fileno(), descriptor)


def _info(connection: socket.socket, offset: int) -> int:
    (value,) = struct.unpack_from("I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), offset)
    return int(value)


def _connections(port: int) -> Iterator[tuple[int, Address, int]]:
    """Yield the milliseconds that each connection to ``port`` has been idle, its client, and its file descriptor."""
    for name in os.listdir(_DESCRIPTORS):
        with suppress(OSError):  # closed meanwhile, or of another kind
            descriptor = int(name)
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with _duplicate(descriptor) as connection:
                if _is_of(connection, port):
                    idle = min(_info(connection, _LAST_DATA_SENT), _info(connection, _LAST_DATA_RECEIVED))
                    host, client_port, *_ = connection.getpeername()
                    yield idle, (host, str(client_port)), descriptor


def _duplicate(descriptor: int) -> socket.socket:
    return socket.socket(fileno=os.dup(descriptor))


def _is_of(connection: socket.socket, port: int) -> bool:
    """Return whether this socket is a connection that was accepted on ``port``: such a socket has a peer."""
    return (
        connection.family != socket.AF_UNIX and connection.getsockname()[1] == port and bool(connection.getpeername())
    )
