"""The limit on threads that wait for keys; a thread of the server leaves its place to another one before it waits."""

import threading
from collections.abc import Callable

_thread = threading.local()


def set_replacement(replace: Callable[[], None]) -> None:
    """Call ``replace`` before the calling thread waits, so that another thread works in its place meanwhile."""
    _thread.replace = replace


class Waiters(threading.BoundedSemaphore):
    """Limits how many threads wait at once. None of them is one of those that serve requests."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        is_acquired = super().acquire(blocking, timeout)
        if is_acquired and hasattr(_thread, "replace"):
            _thread.replace()
        return is_acquired
