"""A worker's sockets, looked up in ``/proc``: closing connections in time, and stopping to listen without a reset.

granian offers none of it. Without ``/proc`` (not on Linux), nothing is closed ahead of time.
"""

import fcntl
import os
import socket
import stat
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

CHECK_SECONDS = 0.25
CLOSE_FROM, CLOSE_TO = 0.9, 0.8
"""Shares of a worker's limits: at the first, connections are closed until the second is reached."""
FIRST_REQUEST_SECONDS = 5.0
"""Age of a connection without any response, from which it is closed before those that had one."""
STALLED_SECONDS = 1.0
"""Time in which a client must have taken something while all of them together leave too much unread."""
LONGEST_PAUSE, MANY = 2.0, 128
"""Seconds between two looks at all sockets, and the number of sockets from which it is worth while."""
BACKLOG_SECONDS = 1.0
"""Time for the accept backlog to become empty."""

_DESCRIPTORS = "/proc/self/fd"
_UNACKED, _LAST_DATA_SENT, _DATA_SEGMENTS_SENT = 24, 44, 156
"""Offsets of a number, of a time in milliseconds, and of a number in ``struct tcp_info`` (linux/tcp.h), whose layout is
part of Linux' interface. For a socket that listens, ``tcpi_unacked`` is the length of its accept backlog.
"""
_TCP_INFO_BYTES = 160

Address = tuple[str, str]
"""The address and the port of a client, as granian spells them in an ASGI scope."""


class Traffic(Protocol):
    """The counts of the adapter: clients with a request in progress, and the bytes of all responses."""

    busy: set[Any]
    sent: int


class _Connection(NamedTuple):
    descriptor: int
    client: Address
    idle: float  # seconds since a response was last sent; without any response, since the connection was accepted
    has_response: bool
    unsent: int  # bytes of responses that the client has not taken
    unread: int  # bytes of requests that granian has not read


class Watch:
    """Closes connections of a worker, so that granian always accepts new ones and the kernel's memory is bounded.

    ``limit`` is the number of connections to ``port`` at which granian stops accepting. ``buffered`` is how many bytes
    clients may leave unread in the kernel, all together.
    """

    def __init__(self, port: int, limit: int, buffered: int, traffic: Traffic) -> None:
        self._port, self._limit, self._buffered, self._traffic = port, limit, buffered, traffic
        self._sent = 0  # at the last look
        self._seen = 0  # bytes in the kernel's buffers, at the last look
        self._looked = time.monotonic()

    def start(self) -> None:
        if os.path.isdir(_DESCRIPTORS):
            threading.Thread(target=self._run, name="connections", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(CHECK_SECONDS)
            if self._is_worth_a_look(len(os.listdir(_DESCRIPTORS))):
                self.close_surplus()

    def _is_worth_a_look(self, descriptors: int) -> bool:
        """Return whether a limit may have been reached: a look takes 10 ms for each thousand connections."""
        if descriptors >= self._limit * CLOSE_FROM:
            return True
        if self._seen + self._traffic.sent - self._sent >= self._buffered:
            return True
        return descriptors > MANY and time.monotonic() - self._looked >= LONGEST_PAUSE

    def close_surplus(self) -> None:
        """Close idle connections if there are too many, and stalled ones if too much is unread."""
        self._sent, self._looked = self._traffic.sent, time.monotonic()
        found = _connections(self._port)
        if len(found) >= self._limit * CLOSE_FROM:
            busy = self._traffic.busy
            idle = [each for each in found if each.client not in busy]
            idle.sort(key=lambda each: (each.has_response or each.idle < FIRST_REQUEST_SECONDS, -each.idle))
            for each in idle[: len(found) - int(self._limit * CLOSE_TO)]:
                _close(each)
        self._seen = sum(each.unsent + each.unread for each in found)
        if self._seen >= self._buffered:
            self._close_stalled([each for each in found if each.unsent])

    def _close_stalled(self, found: list[_Connection]) -> None:
        """Close those that have stalled longest; above four times the limit, also those that still read slowly."""
        found.sort(key=lambda each: -each.idle)
        for each in found:
            if self._seen < self._buffered * CLOSE_TO:
                return
            if each.idle >= STALLED_SECONDS or self._seen >= 4 * self._buffered:
                _close(each)
                self._seen -= each.unsent + each.unread


def limit_sending(port: int, seconds: float) -> bool:
    """Let the kernel close each connection whose client takes nothing of a response for ``seconds``.

    The sockets that a listening one accepts inherit ``TCP_USER_TIMEOUT``, which also counts while the client's window
    is closed (tcp(7)). Return ``False`` if this process does not listen on ``port``, or cannot limit it.
    """
    if not hasattr(socket, "TCP_USER_TIMEOUT") or not os.path.isdir(_DESCRIPTORS):
        return False
    is_limited = False
    for _, found in _sockets(port):
        if _listens(found):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
            is_limited = True
    return is_limited


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


def _connections(port: int) -> list[_Connection]:
    found = []
    for descriptor, connection in _sockets(port):
        with suppress(OSError):  # it listens, and has no peer, or the peer has gone
            client = _client(connection)
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            idle = _number(info, _LAST_DATA_SENT) / 1000
            unsent, unread = _queued(connection, termios.TIOCOUTQ), _queued(connection, termios.FIONREAD)
            found.append(_Connection(descriptor, client, idle, _number(info, _DATA_SEGMENTS_SENT) > 0, unsent, unread))
    return found


def _close(each: _Connection) -> None:
    """Close a connection, and drop what its client has not taken: an orphan would keep it for minutes."""
    with suppress(OSError), _duplicate(each.descriptor) as connection:
        if _client(connection) == each.client:  # unless granian has closed it, and its number is in use again
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)


def _client(connection: socket.socket) -> Address:
    host, port, *_ = connection.getpeername()
    return host, str(port)


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
    return _number(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES), offset)


def _number(info: bytes, offset: int) -> int:
    return int.from_bytes(info[offset : offset + 4], sys.byteorder)  # 0 where an older kernel has no such field


def _queued(connection: socket.socket, request: int) -> int:
    return int.from_bytes(fcntl.ioctl(connection, request, b"\0\0\0\0"), sys.byteorder)
