"""A worker's sockets, looked up in ``/proc``: closing idle connections, and stopping to listen without a reset.

granian offers none of it. Without ``/proc`` (not on Linux), nothing is closed ahead of time.
"""

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
"""Shares of a worker's connections: at the first, idle ones are closed until the second is reached."""
BACKLOG_SECONDS = 1.0
"""Time for the accept backlog to become empty."""

_DESCRIPTORS = "/proc/self/fd"
_UNACKED, _LAST_DATA_SENT, _LAST_DATA_RECEIVED = 24, 44, 52
"""Offsets of a number and of two times in milliseconds in ``struct tcp_info`` (linux/tcp.h), whose layout is part of
Linux' interface. For a socket that listens, ``tcpi_unacked`` is the length of its accept backlog.
"""

Address = tuple[str, str]
"""The address and the port of a client, as granian spells them in an ASGI scope."""


def watch(port: int, limit: int, busy: Container[Address]) -> None:
    """Start a thread that closes idle connections, so that granian always accepts new ones.

    ``limit`` is the number of connections to ``port`` at which granian stops accepting. ``busy`` holds the addresses
    of the clients whose requests are in progress.
    """
    if os.path.isdir(_DESCRIPTORS):
        threading.Thread(target=_watch, args=(port, limit, busy), name="connections", daemon=True).start()


def _watch(port: int, limit: int, busy: Container[Address]) -> None:
    while True:
        time.sleep(CHECK_SECONDS)
        if len(os.listdir(_DESCRIPTORS)) >= limit * CLOSE_FROM:
            close_idle(port, limit, busy)


def close_idle(port: int, limit: int, busy: Container[Address]) -> None:
    """Close the connections that have been idle longest, if there are too many."""
    found = []
    for descriptor, connection in _sockets(port):
        with suppress(OSError):  # it listens, and has no peer, or the peer has gone
            host, client_port, *_ = connection.getpeername()
            idle = min(_tcp_info(connection, _LAST_DATA_SENT), _tcp_info(connection, _LAST_DATA_RECEIVED))
            found.append((idle, (host, str(client_port)), descriptor))
    if len(found) >= limit * CLOSE_FROM:
        idle_longest = sorted((each for each in found if each[1] not in busy), reverse=True)
        for _, client, descriptor in idle_longest[: len(found) - int(limit * CLOSE_TO)]:
            with suppress(OSError), _duplicate(descriptor) as connection:
                host, client_port, *_ = connection.getpeername()
                if (host, str(client_port)) == client:  # unless granian has closed it, and its number is in use again
                    connection.shutdown(socket.SHUT_RDWR)


def stop_listening(port: int) -> None:
    """Stop listening on ``port`` at a moment when the accept backlog is empty.

    granian closes its listening socket and the connections that have not sent a request yet in one step: a client that
    has just connected would be reset. So each file descriptor of that socket becomes one of a socket that no client
    can connect to, and accepted connections have time to send their request before granian stops.
    """
    if not os.path.isdir(_DESCRIPTORS):
        return
    with socket.socket(socket.AF_UNIX) as unreachable:
        unreachable.bind("")  # a name of the kernel's choice, in no file system
        unreachable.listen(1)
        unreachable.setblocking(False)
        for descriptor, listening in _sockets(port):
            if _listens(listening):
                end = time.monotonic() + BACKLOG_SECONDS
                while _tcp_info(listening, _UNACKED) and time.monotonic() < end:
                    time.sleep(0)
                os.dup2(unreachable.fileno(), descriptor)


def is_listening(port: int) -> bool:
    """Return whether this process listens on ``port``; true if there is no ``/proc`` to look it up in."""
    return not os.path.isdir(_DESCRIPTORS) or any(_listens(each) for _, each in _sockets(port))


def _sockets(port: int) -> Iterator[tuple[int, socket.socket]]:
    """Yield each socket that is bound to ``port``: its file descriptor, and a duplicate that is closed afterwards."""
    for descriptor in map(int, os.listdir(_DESCRIPTORS)):
        with suppress(OSError):  # closed meanwhile
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with _duplicate(descriptor) as found:
                    if found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] == port:
                        yield descriptor, found


def _duplicate(descriptor: int) -> socket.socket:
    return socket.socket(fileno=os.dup(descriptor))


def _listens(candidate: socket.socket) -> bool:
    return bool(candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _tcp_info(connection: socket.socket, offset: int) -> int:
    (value,) = struct.unpack_from("I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), offset)
    return int(value)
