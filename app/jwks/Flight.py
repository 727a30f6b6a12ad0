"""A fetch under way."""

import threading


class Flight:
    """A fetch under way. Those who wait for it share it; ``failed`` tells afterwards how it ended."""

    def __init__(self, begun: float, for_unknown: bool) -> None:
        self.begun = begun
        self.for_unknown = for_unknown
        self.failed = True
        self._done = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Wait for the end; ``False`` where it did not come in ``seconds``."""
        return self._done.wait(seconds)

    def finish(self, failed: bool) -> None:
        self.failed = failed
        self._done.set()
