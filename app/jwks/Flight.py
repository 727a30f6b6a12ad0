"""A fetch under way."""

import threading
from collections.abc import Callable

from .KeySet import KeySet


class Flight:
    """A fetch under way. Those who wait for it share it; ``failed`` tells afterwards how it ended.

    ``answers`` is there where an unknown key id caused it: whether a key set has something to say of that one.
    """

    def __init__(self, begun: float, answers: Callable[[KeySet], bool] | None) -> None:
        self.begun = begun
        self.answers = answers
        self.failed = True
        self._done = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Wait for the end; ``False`` where it did not come in ``seconds``."""
        return self._done.wait(seconds)

    def finish(self, failed: bool) -> None:
        self.failed = failed
        self._done.set()
