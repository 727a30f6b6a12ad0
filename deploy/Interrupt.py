"""What wakes the parent."""

import os
import select
import signal
from contextlib import suppress


class Interrupt:
    """An event that signals set.

    Python's own has a lock, for which a signal waits that came while another set it. And the kernel gives a signal to
    any thread: Python's handlers wait then, until the first of its threads wakes, which is here (``signal.
    set_wakeup_fd``).
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def hear_signals(self) -> None:
        """Be set by each signal that has a handler. For the first thread to call."""
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def set(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._writing, b"!")

    def clear(self) -> None:
        """Nothing: ``wait`` has done so. Later, it would undo what was set since its caller looked what for."""

    def wait(self) -> None:
        """Until it is set; it is not any more, then."""
        select.select([self._reading], [], [])
        with suppress(BlockingIOError):
            while os.read(self._reading, 1024):
                continue
