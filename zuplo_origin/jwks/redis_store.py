"""A store for the processes of many machines: the four Redis commands that it needs, over a socket.

A library reads a reply as long as it announces itself to be, and waits for as long as bytes arrive. Here, both have
limits before anything is buffered (https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

import socket
import ssl
from urllib.parse import unquote, urlsplit

from .fetch import Deadline

PREFIX = "zuplo-origin:jwks:"
TIMEOUT = 0.4
"""Seconds for an operation, its connection included."""
LONGEST_LINE = 1024
"""Bytes of the first line of a reply: a number, a status or an error."""


class RedisError(Exception):
    """An error reply, or a reply that is not the expected one."""


class RedisStore:
    """The Redis server at ``url``: ``redis://[user:password@]host[:port][/database]``, or ``rediss://`` with TLS.

    Each operation has a connection of its own, so that threads and forked processes share none: operations are rare.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "localhost", parts.port or 6379
        self._tls = ssl.create_default_context() if parts.scheme == "rediss" else None
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        self._first: list[tuple[bytes, ...]] = []
        if user or password:
            self._first.append((b"AUTH", *([user.encode()] if user and password else []), (password or user).encode()))
        if parts.path.strip("/") not in ("", "0"):
            self._first.append((b"SELECT", parts.path.strip("/").encode()))

    def get(self, name: str, longest: int) -> bytes | None:
        value = self._command(longest, b"GETRANGE", _key(name), b"0", str(longest - 1).encode())
        return value or None

    def put(self, name: str, value: bytes, seconds: float) -> None:
        self._command(0, b"SET", _key(name), value, b"PX", _milliseconds(seconds))

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        return self._command(0, b"SET", _key(name), value, b"PX", _milliseconds(seconds), b"NX") is not None

    def delete(self, name: str) -> None:
        self._command(0, b"DEL", _key(name))

    def _command(self, longest: int, *words: bytes) -> bytes | None:
        """Return the reply to a command, a string of ``longest`` bytes at most; ``None`` for a null reply."""
        with Deadline(TIMEOUT) as deadline, socket.create_connection(self._address, TIMEOUT) as opened:
            deadline.watch(opened)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return self._converse(opened, deadline, longest, words)
            with self._tls.wrap_socket(opened, server_hostname=self._address[0]) as secure:
                return self._converse(secure, deadline, longest, words)

    def _converse(
        self, opened: socket.socket, deadline: Deadline, longest: int, words: tuple[bytes, ...]
    ) -> bytes | None:
        replies = _Replies(opened, deadline)
        for each in self._first:
            opened.sendall(_encoded(each))
            replies.read(0)
        opened.sendall(_encoded(words))
        return replies.read(longest)


class _Replies:
    """The replies that arrive on a connection."""

    def __init__(self, opened: socket.socket, deadline: Deadline) -> None:
        self._socket, self._deadline, self._buffer = opened, deadline, bytearray()

    def read(self, longest: int) -> bytes | None:
        """Return the next reply: a status or number, or a string of ``longest`` bytes at most; ``None`` for null.

        Raises ``RedisError``.
        """
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RedisError(rest[:100].decode("ascii", "replace"))
        if kind in (b"+", b":"):
            return rest
        if kind != b"$" or not rest.removeprefix(b"-").isdigit():
            raise RedisError("the reply is not one of Redis")
        size = int(rest[:16])
        if size < 0:
            return None
        if size > longest:
            raise RedisError(f"the reply has {size} bytes, more than the {longest} that were asked for")
        while len(self._buffer) < size + 2:
            self._receive()
        value = bytes(self._buffer[:size])
        del self._buffer[: size + 2]
        return value

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > LONGEST_LINE:
                raise RedisError("the reply is not one of Redis")
            self._receive()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _receive(self) -> None:
        self._socket.settimeout(self._deadline.left())
        received = self._socket.recv(65536)
        if not received:
            raise EOFError("the server closed the connection")
        self._buffer += received


def _encoded(words: tuple[bytes, ...]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _key(name: str) -> bytes:
    return (PREFIX + name).encode()


def _milliseconds(seconds: float) -> bytes:
    return str(max(1, round(seconds * 1000))).encode()
