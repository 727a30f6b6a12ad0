"""What wakes the parent."""

import os
import select
from contextlib import suppress


class Interrupt:
    """An event that signals set. Python's own has a lock, for which a signal waits that came while another set it."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def set(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._writing, b"!")

    def clear(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._reading, 1024):
                continue

    def wait(self) -> None:
        select.select([self._reading], [], [])
