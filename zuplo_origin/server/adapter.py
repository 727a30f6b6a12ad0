"""The application as ASGI 3: the event loop receives and sends, threads run the application.

A WSGI server behind a gateway lacks three things: a body that arrives late holds a thread, the connection of an overdue
body cannot be closed, and ``X-Service-Token`` and ``X_Service_Token`` are one header.
"""

import asyncio
import io
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from zuplo_origin.health import PATHS

from .bodies import Bodies, Body, BodyError, Receive
from .threads import Outbox, Threads

Send = Callable[[Any], Awaitable[None]]
Fields = list[tuple[str, str]]

BODY_ERROR = "zuplo_origin.body_error"
"""The environ key of the error status of a request whose body did not arrive."""
RAW_PATH = "zuplo_origin.raw_path"
"""The environ key of the path as it was sent, if it has encoded characters: WSGI has the decoded path only."""
STREAM_SLOTS = "zuplo_origin.stream_slots"
"""The environ key of the semaphore of open streams: the application acquires it for each, without waiting."""
LINGERING_SECONDS, LINGERING_BYTES = 5.0, 16 * 1_048_576
"""Time and bytes in which a client must end a request whose response was sent before its body had been received."""

_WITHOUT_PREFIX = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


class Adapter:
    """An ASGI application around ``application``, a WSGI application that has a method ``admit``.

    ``admit(environ)`` returns the largest acceptable body in bytes, or ``None`` if the response does not need the body.
    No byte of the body is received before. ``threads`` is the number of requests that are worked on at once,
    ``streams`` the number of streamed responses that are open at once, each in a thread of its own. If ``is_draining``
    is set, responses carry ``Connection: close``; if ``is_ending`` is set, open streams are ended. ``busy`` holds the
    addresses of the clients whose requests are in progress, ``sent`` the number of bytes of all responses.

    ``send_seconds`` is the time in which a client must take a part of a stream, unless the kernel watches over it.
    """

    def __init__(self, application: Any, threads: int, streams: int, bodies: Bodies, send_seconds: float) -> None:
        self.application, self.bodies = application, bodies
        self.send_seconds: float | None = send_seconds
        self.sent = 0
        self._number_of_threads = threads
        self.stream_slots = threading.BoundedSemaphore(streams)
        self.is_draining = self.is_ending = False
        self.busy: set[Any] = set()
        self._threads: Threads | None = None
        self._health_threads: Threads | None = None

    @property
    def health_threads(self) -> Threads:
        """Threads for health checks, which are served while all others wait, for a database that hangs."""
        if self._health_threads is None:
            self._health_threads = Threads(asyncio.get_running_loop(), 2, "health")
        return self._health_threads

    @property
    def threads(self) -> Threads:
        if self._threads is None:
            self._threads = Threads(asyncio.get_running_loop(), self._number_of_threads, "request")
        return self._threads

    def __call__(self, scope: Any, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        return Exchange(self, scope, receive, send).run()


class Exchange:
    """One request and its response."""

    def __init__(self, adapter: Adapter, scope: Any, receive: Receive, send: Send) -> None:
        self._adapter, self._receive, self._send = adapter, receive, send
        self._loop = asyncio.get_running_loop()
        self._client = scope["client"]
        self._environ = environ_of(scope)
        self._environ[STREAM_SLOTS] = adapter.stream_slots
        self._has_unread_body = False
        self._is_client_gone = False

    async def run(self) -> None:
        self._adapter.busy.add(self._client)
        try:
            await self._run()
        finally:
            self._adapter.busy.discard(self._client)

    async def _run(self) -> None:
        received: Body | None = None
        if has_body(self._environ):
            self._has_unread_body = True
            received = await self._receive_body()
        try:
            is_health_check = self._environ["PATH_INFO"] in PATHS
            threads = self._adapter.health_threads if is_health_check else self._adapter.threads
            response = await threads.run(self._call_application)
        finally:
            if received is not None:
                received.close()
        if response is not None:
            status, headers, body = response
            await self._start(status, headers)
            self._adapter.sent += len(body)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
        if self._has_unread_body:
            await _linger(self._receive)

    async def _receive_body(self) -> Body | None:
        """Receive the body, if the application reads it; ``wsgi.input`` is empty otherwise."""
        limit = await self._adapter.threads.run(self._adapter.application.admit, self._environ)
        if limit is None or _stated_length(self._environ) > limit:
            return None
        try:
            body = await self._adapter.bodies.receive(self._receive, limit)
        except BodyError as error:
            self._environ[BODY_ERROR] = error.status
            return None
        self._has_unread_body = not body.is_complete
        body.file.seek(0)
        self._environ["wsgi.input"] = body.file
        return body

    def _call_application(self) -> tuple[int, Fields, bytes] | None:
        """Call the application in one of the threads; return ``None`` if the response was streamed from there."""
        started: list[Any] = []

        def start_response(status: str, headers: Fields, exc_info: Any = None) -> None:
            started[:] = [int(status[:3]), headers]

        chunks: Iterable[bytes] = self._adapter.application(self._environ, start_response)
        if isinstance(chunks, list):
            return started[0], started[1], b"".join(chunks)
        self._adapter.threads.leave()
        try:
            self._stream(started[0], started[1], chunks)
        finally:
            if hasattr(chunks, "close"):  # PEP 3333
                chunks.close()
        return None

    def _stream(self, status: int, headers: Fields, chunks: Iterable[bytes]) -> None:
        """Send ``chunks`` as they are produced, as fast as the client receives them.

        If a chunk fails, or the client closes its connection, the response has no end: granian breaks the connection.
        """
        outbox = Outbox(self._loop)
        sending = asyncio.run_coroutine_threadsafe(self._send_stream(status, headers, outbox), self._loop)
        try:
            for chunk in chunks:
                if sending.done() or self._is_client_gone or self._adapter.is_ending:
                    break
                outbox.put(chunk)
            else:
                outbox.end()
                sending.result()
        except BaseException:  # noqa: S110  # sending failed, or a chunk did, which the application has logged
            pass
        finally:
            sending.cancel()

    async def _start(self, status: int, headers: Fields) -> None:
        fields = [(_field_name(name), value.encode("latin-1")) for name, value in headers]
        if self._has_unread_body or self._adapter.is_draining:
            fields.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": fields})

    async def _send_stream(self, status: int, headers: Fields, outbox: "Outbox") -> None:
        watching = asyncio.create_task(self._watch(outbox))
        try:
            await self._start(status, headers)
            while chunk := await outbox.take():
                message = {"type": "http.response.body", "body": chunk, "more_body": True}
                self._adapter.sent += len(chunk)
                await asyncio.wait_for(_awaited(self._send(message)), self._adapter.send_seconds)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            outbox.stop()
            watching.cancel()

    async def _watch(self, outbox: "Outbox") -> None:
        """Stop the stream when the client closes its connection: granian's ``send`` raises no error then."""
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._is_client_gone = True
        outbox.stop()


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable  # granian returns awaitables that are not coroutines, which wait_for() needs


def has_body(environ: dict[str, Any]) -> bool:
    """Return whether a request has a body (RFC 9112, section 6)."""
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


@lru_cache(maxsize=1024)
def _environ_key(name: bytes) -> str | None:
    """Return the WSGI key of a header, or ``None`` if the header is dropped."""
    if b"_" in name:
        return None
    return _WITHOUT_PREFIX.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


@lru_cache(maxsize=1024)
def _field_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


def environ_of(scope: Any) -> dict[str, Any]:
    """Return the WSGI environ (PEP 3333) of an ASGI scope, with an empty ``wsgi.input``.

    A header whose name has an underscore is dropped, as in nginx and gunicorn: WSGI has one key for ``X-A`` and
    ``X_A``, so a client could forge a header of the gateway. Headers of one name are joined with a comma (RFC 9110,
    section 5.3), cookies with a semicolon. The process's environment is not included.
    """
    raw_path: bytes = scope["raw_path"]
    path = unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path
    server, client = scope["server"] or ("", 0), scope["client"] or ("", 0)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": str(client[0]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    if path is not raw_path:
        environ[RAW_PATH] = raw_path.decode("latin-1")
    for name, value in scope["headers"]:
        key = _environ_key(name)
        if key is None:
            continue
        if key in environ:
            separator = "; " if key == "HTTP_COOKIE" else ","
            environ[key] = f"{environ[key]}{separator}{value.decode('latin-1')}"
        else:
            environ[key] = value.decode("latin-1")
    return environ
