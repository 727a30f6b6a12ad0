"""The application as ASGI 3: the event loop receives and sends, threads run the application.

WSGI cannot do three things that a server behind a gateway needs. A body that waits for its client holds a thread, an
overdue one cannot be ended, and ``X-Service-Token`` and ``X_Service_Token`` are one header.
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

from .bodies import Bodies, Body, BodyError, Receive
from .threads import Threads

Send = Callable[[Any], Awaitable[None]]
Fields = list[tuple[str, str]]

BODY_ERROR = "zuplo_origin.body_error"
"""The environ key of the status with which a request is answered whose body did not arrive."""
STREAM_SLOTS = "zuplo_origin.stream_slots"
"""The environ key of the semaphore of open streams: the application acquires it for each, without waiting."""
OUTBOX_BYTES = 65_536
"""Bytes of a stream that wait to be sent; its generator waits then."""
LINGERING_SECONDS = 5.0
"""Time that a client is given to end a request that was answered before its body had been received."""
LINGERING_BYTES = 16 * 1_048_576

_WITHOUT_PREFIX = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_EMPTY = io.BytesIO()


class Adapter:
    """An ASGI application around ``application``, a WSGI application that has a method ``admit``.

    ``admit(environ)`` returns the largest acceptable body in bytes, or ``None`` when the request will be answered
    without its body. Not a byte of the body is received before. ``threads`` is the number of requests that are worked
    on at once, ``streams`` the number of streamed responses that are open at once: their threads are their own.
    Once ``is_draining`` is set, responses carry ``Connection: close``; once ``is_ending`` is, open streams are ended.
    ``busy`` holds the addresses of the clients whose requests are under way.
    """

    def __init__(self, application: Any, threads: int, streams: int, bodies: Bodies, send_seconds: float) -> None:
        self.application, self._number_of_threads = application, threads
        self.bodies = bodies
        self.send_seconds = send_seconds
        self.stream_slots = threading.BoundedSemaphore(streams)
        self.is_draining = self.is_ending = False
        self.busy: set[Any] = set()
        self._threads: Threads | None = None

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
        self._client_has_gone = False

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
            answered = await self._adapter.threads.run(self._answer)
        finally:
            if received is not None:
                received.close()
        if answered is not None:
            status, headers, body = answered
            await self._start(status, headers)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
        if self._has_unread_body:
            await _linger(self._receive)

    async def _receive_body(self) -> Body | None:
        """Receive the body, if the application wants it: ``wsgi.input`` is empty otherwise."""
        limit = await self._adapter.threads.run(self._adapter.application.admit, self._environ)
        if limit is None or _stated_length(self._environ) > limit:
            return None
        try:
            body = await self._adapter.bodies.receive(self._receive, limit)
        except BodyError as error:
            self._environ[BODY_ERROR] = error.status
            return None
        self._has_unread_body = not body.is_complete
        self._environ["wsgi.input"] = body.open()
        return body

    def _answer(self) -> tuple[int, Fields, bytes] | None:
        """Run the application, in one of the threads; ``None`` when the response was streamed from there."""
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
        """Send ``chunks`` as they are produced, while the client takes them.

        When one fails, or the client goes away, the response is left without its end: granian breaks the connection.
        """
        outbox = Outbox(self._loop)
        sending = asyncio.run_coroutine_threadsafe(self._send_stream(status, headers, outbox), self._loop)
        try:
            for chunk in chunks:
                if sending.done() or self._client_has_gone or self._adapter.is_ending:
                    break
                outbox.put(chunk)
            else:
                outbox.end()
                sending.result()
        except Exception:  # noqa: S110  # a chunk failed, which the application has logged, or sending did
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
                await asyncio.wait_for(_awaited(self._send(message)), self._adapter.send_seconds)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            outbox.stop()
            watching.cancel()

    async def _watch(self, outbox: "Outbox") -> None:
        """Find out when the client goes away: granian's ``send`` goes on without an error."""
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._client_has_gone = True
        outbox.stop()


class Outbox:
    """The chunks that a thread has produced and the event loop has not sent yet.

    What is produced while something is being sent is sent next, in one piece: an event is sent at once, and a thousand
    short lines do not wake the loop a thousand times.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._filled = asyncio.Event()
        self._changed = threading.Condition()  # guards what follows
        self._chunks: list[bytes] = []
        self._size, self._has_ended, self._has_stopped = 0, False, False

    def put(self, chunk: bytes) -> None:
        """Add a chunk, once there is room for it. For the thread."""
        with self._changed:
            while self._size >= OUTBOX_BYTES and not self._has_stopped:
                self._changed.wait()
            self._chunks.append(chunk)
            self._size += len(chunk)
            is_first = len(self._chunks) == 1
        if is_first:
            self._loop.call_soon_threadsafe(self._filled.set)

    def end(self) -> None:
        """Note that there is nothing more to come. For the thread."""
        with self._changed:
            self._has_ended = True
        self._loop.call_soon_threadsafe(self._filled.set)

    async def take(self) -> bytes:
        """Return everything that is to be sent, as soon as there is something; nothing at the end. For the loop."""
        while True:
            with self._changed:
                if self._chunks:
                    taken, self._chunks, self._size = b"".join(self._chunks), [], 0
                    self._changed.notify()
                    return taken
                if self._has_ended:
                    return b""
                self._filled.clear()
            await self._filled.wait()

    def stop(self) -> None:
        """Let the thread wait no longer: nothing more is sent. For the loop."""
        with self._changed:
            self._has_stopped = True
            self._changed.notify()


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable  # granian's is awaitable, and not always a coroutine


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


@lru_cache(maxsize=1024)
def _environ_key(name: bytes) -> str | None:
    """Return the WSGI key of a header, ``None`` for one that is dropped. Cached: a gateway sends the same names."""
    if b"_" in name:
        return None
    return _WITHOUT_PREFIX.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


@lru_cache(maxsize=1024)
def _field_name(name: str) -> bytes:
    """Return the name of a response header as ASGI has it."""
    return name.lower().encode("latin-1")


def environ_of(scope: Any) -> dict[str, Any]:
    """Return the WSGI environ (PEP 3333) of an ASGI scope, with an empty ``wsgi.input``.

    A header whose name has an underscore is dropped, as nginx and gunicorn do: WSGI has one key for ``X-A`` and
    ``X_A``, and a client could stand in for the gateway. Headers of one name are joined with a comma (RFC 9110,
    section 5.3), cookies with a semicolon. Nothing of the process's environment is in it.
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
        "wsgi.input": _EMPTY,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
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
