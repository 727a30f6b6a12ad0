"""Threads that work for an event loop."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class Threads:
    """A fixed number of daemon threads that run functions for ``loop``.

    Results go back to the loop in batches: one ``call_soon_threadsafe`` while none is pending. Waking the loop for each
    result (``run_in_executor``) halves the throughput.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int, name: str) -> None:
        self._loop = loop
        self._work: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._delivery_is_due = False
        self._name, self._local = name, threading.local()
        for _ in range(number):
            self._start()

    def _start(self) -> None:
        threading.Thread(target=self._serve, name=self._name, daemon=True).start()

    def run(self, function: Callable[..., Any], *arguments: Any) -> "asyncio.Future[Any]":
        """Return a future for the value of ``function``, which runs as soon as a thread is free."""
        future = self._loop.create_future()
        self._work.put((future, function, arguments))
        return future

    def leave(self) -> None:
        """Let another thread take the place of the calling one, which ends with the function that it runs."""
        self._local.leaves = True
        self._start()

    def _serve(self) -> None:
        while not getattr(self._local, "leaves", False):
            future, function, arguments = self._work.get()
            try:
                self._done.append((future, function(*arguments), None))
            except BaseException as error:
                self._done.append((future, None, error))
            del future, function, arguments  # or an idle thread keeps its last request alive
            if not self._delivery_is_due:
                self._delivery_is_due = True
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._delivery_is_due = False  # first: a result that is appended from here on is delivered by the next call
        while self._done:
            future, value, error = self._done.popleft()
            if future.cancelled():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
