"""How many threads of a process may wait at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class WaitingRoom:
    """``seats`` for those who wait for others, so that they never take all threads of a process."""

    def __init__(self, seats: int) -> None:
        self._seats = threading.BoundedSemaphore(seats)

    @contextmanager
    def seat(self) -> Iterator[bool]:
        """Take a seat for the length of the block; yields ``False`` at once where all are taken."""
        taken = self._seats.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._seats.release()
