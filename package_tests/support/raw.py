"""An issuer that sends exactly the given bytes, for what an HTTP library would not send."""

import socket
import ssl
import threading
from contextlib import suppress

OK = b"HTTP/1.1 200 OK\r\n"


def response(body: bytes, *headers: str, start: bytes = OK) -> bytes:
    """Return a whole response with `body` and further `headers`."""
    lines = "".join(f"{line}\r\n" for line in headers)
    return start + lines.encode("latin-1") + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


class RawIssuer:
    """Listens on `host`, reads the headers of each request, sends `sends`, and closes the connection.

    `requests` has the headers of the requests. With `tls`, connections are encrypted. With `hangs`, a connection stays
    open, and nothing more is sent, until the end of the `with` block. With `at_once`, no request is awaited.
    """

    def __init__(
        self,
        sends: bytes,
        tls: ssl.SSLContext | None = None,
        hangs: bool = False,
        host: str = "127.0.0.1",
        at_once: bool = False,
    ):
        self.sends, self.requests, self._tls, self._hangs, self._at_once = sends, [], tls, hangs, at_once
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}/jwks"
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "RawIssuer":
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._respond, args=(connection,), daemon=True).start()

    def _respond(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(30)
            if self._tls is None:
                self._exchange(connection)
                return
            with self._tls.wrap_socket(connection, server_side=True) as secure:
                self._exchange(secure)

    def _exchange(self, connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received and not self._at_once:
            chunk = connection.recv(65536)
            if not chunk:
                return
            received += chunk
        self.requests.append(received)
        connection.sendall(self.sends)
        if self._hangs:
            self._ended.wait(30)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)
