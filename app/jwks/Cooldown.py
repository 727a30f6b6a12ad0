"""How often strangers' key ids may cause a fetch."""

import math
from collections import deque

FETCHES_PER_WINDOW = 2


class Cooldown:
    """At most two fetches for unknown key ids begin in any ``seconds``, whether they succeed or not.

    ``wanted`` says that one was refused since: it is made up for as the window ends. Times are seconds of one clock.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun: deque[float] = deque(maxlen=FETCHES_PER_WINDOW)
        self.wanted = False

    def allows(self, now: float) -> bool:
        """Whether one more may begin."""
        return now >= self.ends()

    def ends(self) -> float:
        """When the next one may begin."""
        return self._begun[0] + self._seconds if len(self._begun) == FETCHES_PER_WINDOW else -math.inf

    def note(self, now: float) -> None:
        """Count one that begins ``now``."""
        self._begun.append(now)

    def want(self) -> bool:
        """Ask for one as the window ends; whether this is the first to ask."""
        first, self.wanted = not self.wanted, True
        return first
