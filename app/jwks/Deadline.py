"""An end to a conversation with a server, by the clock on the wall, whatever the server does."""

import os
import socket
import threading
import time
from types import TracebackType
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection


class Deadline:
    """``seconds`` from now, after which every connection that was opened under it is shut.

    A socket's timeout starts anew with each byte: a server that sends one in a while holds its client for ever. So the
    connections are shut from outside, which ends whatever waits for them. A context manager: its end stops the watch.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._watch = threading.Timer(seconds, self._shut)
        self._watch.daemon = True
        self._guard = threading.Lock()  # guards the two below
        self._sockets: list[socket.socket] = []
        self._over = False

    def __enter__(self) -> "Deadline":
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watch.cancel()
        with self._guard:
            for held in self._sockets:
                held.close()
            self._sockets.clear()

    def left(self) -> float:
        """Seconds until the end; ``TimeoutError`` where it has passed."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def over(self) -> bool:
        """Whether the end has passed."""
        return time.monotonic() >= self._end

    def hold(self, connected: socket.socket) -> None:
        """Shut ``connected`` when the time is over."""
        # a duplicate: TLS takes the socket itself over, and the shutdown reaches the connection through either
        duplicate = socket.socket(fileno=os.dup(connected.fileno()))
        with self._guard:
            self._sockets.append(duplicate)
            if self._over:
                _shut_down(duplicate)

    def _shut(self) -> None:
        with self._guard:
            self._over = True
            for held in self._sockets:
                _shut_down(held)


def _shut_down(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster


class DeadlineAdapter(HTTPAdapter):
    """A transport of ``requests`` whose connections end with a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _held(super()._new_conn(), deadline)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _held(super()._new_conn(), deadline)

        self._classes = {"http": Plain, "https": Secure}
        super().__init__()

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        pool.ConnectionCls = self._classes[pool.scheme]
        return pool


def _held(connected: socket.socket, deadline: Deadline) -> socket.socket:
    deadline.hold(connected)
    return connected
