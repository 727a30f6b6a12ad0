"""The application as ASGI 3: the event loop receives and sends, threads run the application.

WSGI cannot do three things that a server behind a gateway needs. A body that waits for its client holds a thread, an
overdue one cannot be ended, and ``X-Service-Token`` and ``X_Service_Token`` are one header.
"""

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

from .bodies import Bodies, Body, BodyError, Receive
from .threads import Threads

Send = Callable[[Any], Awaitable[None]]

BODY_ERROR = "zuplo_origin.body_error"
"""The environ key of the status with which a request is answered whose body did not arrive."""
LINGERING_SECONDS = 5.0
"""Time that a client is given to end a request that was answered before its body had been received."""
LINGERING_BYTES = 16 * 1_048_576

_WITHOUT_PREFIX = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_EMPTY = io.BytesIO()


class Adapter:
    """An ASGI application around ``application``, a WSGI application that has a method ``admit``.

    ``admit(environ)`` returns the largest acceptable body in bytes, or ``None`` when the request will be answered
    without its body. Not a byte of the body is received before. ``threads`` is the number of requests that are worked
    on at once. When ``draining()`` is true, responses carry ``Connection: close``.
    """

    def __init__(self, application: Any, threads: int, body_seconds: float, draining: Callable[[], bool]) -> None:
        self._application, self._number_of_threads = application, threads
        self._bodies = Bodies(body_seconds)
        self._draining = draining
        self._threads: Threads | None = None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._threads is None:
            self._threads = Threads(asyncio.get_running_loop(), self._number_of_threads, "request")
        environ = environ_of(scope)
        if not has_body(environ):
            environ["wsgi.input"] = _EMPTY
            status, headers, body = await self._threads.run(self._answer, environ)
            await self._send(send, status, headers, body, False)
            return
        received: Body | None = None
        environ["wsgi.input"] = _EMPTY
        try:
            limit = await self._threads.run(self._application.admit, environ)
            if limit is not None and _stated_length(environ) <= limit:
                try:
                    received = await self._bodies.receive(receive, limit)
                    environ["wsgi.input"] = received.open()
                except BodyError as error:
                    environ[BODY_ERROR] = error.status
            status, headers, body = await self._threads.run(self._answer, environ)
            unread = received is None or not received.is_complete
            await self._send(send, status, headers, body, unread)
        finally:
            if received is not None:
                received.close()
        if unread:
            await _linger(receive)

    def _answer(self, environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
        """Run the application, in a thread of its own."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            started[:] = [int(status[:3]), headers]

        chunks: Iterable[bytes] = self._application(environ, start_response)
        body = chunks[0] if isinstance(chunks, list) and len(chunks) == 1 else b"".join(chunks)
        return started[0], started[1], body

    async def _send(self, send: Send, status: int, headers: list[tuple[str, str]], body: bytes, unread: bool) -> None:
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if unread or self._draining():
            fields.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def has_body(environ: dict[str, Any]) -> bool:
    """Whether a request has a body (RFC 9112, section 6)."""
    return environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ


def _stated_length(environ: dict[str, Any]) -> int:
    stated = environ.get("CONTENT_LENGTH", "0")
    return int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 19 else sys.maxsize


async def _linger(receive: Receive) -> None:
    """Receive and drop what the client still sends, so that it can read its response (RFC 9112, section 9.6).

    Closing a connection with unread data resets it, and the client's response is lost.
    """
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_drop(receive), LINGERING_SECONDS)


async def _drop(receive: Receive) -> None:
    dropped = 0
    while dropped < LINGERING_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return
        dropped += len(message.get("body", b""))


def environ_of(scope: Any) -> dict[str, Any]:
    """Return the WSGI environ (PEP 3333) of an ASGI scope, without ``wsgi.input``.

    A header whose name has an underscore is dropped, as nginx and gunicorn do: WSGI has one key for ``X-A`` and
    ``X_A``, and a client could stand in for the gateway. Headers of one name are joined with a comma (RFC 9110,
    section 5.3), cookies with a semicolon. Nothing of the process's environment is in it.
    """
    path = unquote_to_bytes(scope["raw_path"]).decode("latin-1") if scope.get("raw_path") else scope["path"]
    server, client = scope.get("server") or ("", 0), scope.get("client") or ("", 0)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": str(client[0]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            continue
        key = _WITHOUT_PREFIX.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
    return environ
