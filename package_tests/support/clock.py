"""Time as an argument, and waiting for a condition."""

import time
from collections.abc import Callable


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def poll(condition: Callable[[], object], limit: float = 60) -> None:
    """Wait until `condition` returns something true. Fail after `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)
