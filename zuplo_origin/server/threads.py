"""Threads that run functions for an event loop, and the queue by which a thread sends a stream."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from zuplo_origin.waiting import set_replacement

OUTBOX_BYTES = 65_536
"""Bytes of a stream that are produced ahead of the client; its generator then waits."""


class Threads:
    """A fixed number of daemon threads that run functions for ``loop``.

    Results go back to the loop in batches, with one ``call_soon_threadsafe`` while none is pending: waking the loop for
    each result, as ``run_in_executor`` does, halves the throughput.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int, name: str) -> None:
        self._loop = loop
        self._work: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_delivery_pending = False
        self._name, self._local = name, threading.local()
        for _ in range(number):
            self._start()

    def _start(self) -> None:
        threading.Thread(target=self._serve, name=self._name, daemon=True).start()

    def run(self, function: Callable[..., Any], *arguments: Any) -> "asyncio.Future[Any]":
        """Run ``function`` as soon as a thread is free, and return a future for its value."""
        future = self._loop.create_future()
        self._work.put((future, function, arguments))
        return future

    def leave(self) -> None:
        """Start a thread in place of the calling one, which ends after the function that it runs."""
        if not getattr(self._local, "is_leaving", False):
            self._local.is_leaving = True
            self._start()

    def _serve(self) -> None:
        set_replacement(self.leave)
        while not getattr(self._local, "is_leaving", False):
            future, function, arguments = self._work.get()
            try:
                self._done.append((future, function(*arguments), None))
            except BaseException as error:
                self._done.append((future, None, error))
            del future, function, arguments  # or an idle thread keeps its last request alive
            if not self._is_delivery_pending:
                self._is_delivery_pending = True
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_delivery_pending = False  # first: a result that is appended from here on is delivered by the next call
        while self._done:
            future, value, error = self._done.popleft()
            if future.cancelled():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


class Outbox:
    """The chunks that a thread has produced and the event loop has not sent yet.

    Chunks that are produced while the loop sends are sent next, joined: an event is sent at once, and a thousand short
    lines do not wake the loop a thousand times.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._filled = asyncio.Event()
        self._changed = threading.Condition()  # guards what follows
        self._chunks: list[bytes] = []
        self._size, self._has_ended, self._has_stopped = 0, False, False

    def put(self, chunk: bytes) -> None:
        """Add a chunk, as soon as there is space for it. Called by the thread."""
        with self._changed:
            while self._size >= OUTBOX_BYTES and not self._has_stopped:
                self._changed.wait()
            self._chunks.append(chunk)
            self._size += len(chunk)
            is_first = len(self._chunks) == 1
        if is_first:
            self._loop.call_soon_threadsafe(self._filled.set)

    def end(self) -> None:
        """Note that no chunk follows. Called by the thread."""
        with self._changed:
            self._has_ended = True
        self._loop.call_soon_threadsafe(self._filled.set)

    async def take(self) -> bytes:
        """Wait for chunks, and return all of them joined; ``b""`` at the end. Called by the loop."""
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
        """Wake the thread when nothing more will be sent. Called by the loop."""
        with self._changed:
            self._has_stopped = True
            self._changed.notify()
