"""Where the processes of a machine or a fleet meet."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from app.log.Event import Event

log = logging.getLogger("app.jwks")

T = TypeVar("T")

LONGEST_OPERATION = 0.5
"""Seconds that one operation may take, a name's resolution included."""
PAUSE = 15.0
"""Seconds in which a store that failed is not asked again."""


class StoreDown(Exception):
    """The store cannot be asked now."""


class Store(Protocol):
    """Values under names, each for a while. Any exception of an operation means that the store is down.

    Nothing that comes out of it is believed as such: see ``Seal``.
    """

    def get(self, name: str, longest: int) -> bytes | None:
        """Return the value of ``name``, cut after ``longest`` bytes; ``None`` where there is none in its time."""

    def put(self, name: str, value: bytes, seconds: float) -> None:
        """Keep ``value`` under ``name`` for ``seconds``."""

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        """The same where there is none yet; whether there was none. Of several that ask at once, one hears ``True``."""

    def delete(self, name: str) -> None:
        """Forget ``name``."""


class BoundedStore:
    """A ``store`` whose failures and silences cost little: no operation takes longer than half a second, and one that
    failed is followed by a pause. Raises ``StoreDown`` then.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._down_until: float | None = None

    def get(self, name: str, longest: int) -> bytes | None:
        return self._bounded(lambda: self._store.get(name, longest))

    def put(self, name: str, value: bytes, seconds: float) -> None:
        self._bounded(lambda: self._store.put(name, value, seconds))

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        return self._bounded(lambda: self._store.add(name, value, seconds))

    def delete(self, name: str) -> None:
        self._bounded(lambda: self._store.delete(name))

    def _bounded(self, operation: Callable[[], T]) -> T:
        if self._down_until is not None and self._clock() < self._down_until:
            raise StoreDown
        results: list[T] = []
        failures: list[Exception] = []

        def run() -> None:
            try:
                results.append(operation())
            except Exception as error:
                failures.append(error)

        # a thread of its own: no time-out of a client's reaches into the resolver, or a file system that hangs
        thread = threading.Thread(target=run, name="jwks-store", daemon=True)
        thread.start()
        thread.join(LONGEST_OPERATION)
        if not results:
            failure = failures[0] if failures else TimeoutError()
            if self._down_until is None:
                log.warning(Event("jwks_store_down", why=type(failure).__name__))
            self._down_until = self._clock() + PAUSE
            raise StoreDown from failure
        if self._down_until is not None:
            self._down_until = None
            log.info(Event("jwks_store_back"))
        return results[0]
