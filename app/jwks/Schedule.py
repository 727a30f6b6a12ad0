"""When an issuer is asked for its keys."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from .Cooldown import Cooldown

MIN_FRESH = 30
"""Seconds below which no ``Cache-Control`` shortens the TTL."""
REFRESH_AT = 0.8
"""The part of its freshness after which a set is renewed in the background."""
MAX_BACK_OFF = 4.0
"""Seconds between two tries of an outage, at the most: 1, doubling to this."""


@dataclass(frozen=True)
class Policy:
    """When a key set is fetched, in seconds: see the settings ``JWKS_*`` of the same names."""

    ttl: float = 600
    max_stale: float = 3600
    timeout: float = 5
    cooldown: float = 30

    def fresh_for(self, max_age: int | None) -> float:
        """Return how long an answer is fresh whose ``Cache-Control`` says ``max_age`` (RFC 9111, section 5.2.2.1)."""
        return self.ttl if max_age is None else min(self.ttl, max(MIN_FRESH, max_age))


class Schedule:
    """The times of the fetches of one issuer, past and to come. Times are seconds of one clock; it is not locked.

    ``spread`` returns a number between its two arguments, so that many processes do not move in step.
    """

    def __init__(self, policy: Policy, now: float, spread: Callable[[float, float], float]) -> None:
        self._spread = spread
        self._cooldown = Cooldown(policy.cooldown)
        self._failures = 0
        self._next = now
        self.last_failed = False

    def allows(self, now: float) -> bool:
        """Whether a fetch may begin because no keys are held: not while backing off."""
        return self._failures == 0 or now >= self._next

    def allows_for_unknown(self, now: float) -> bool:
        """Whether a fetch may begin because of an unknown key id, with usable keys held."""
        return self._cooldown.allows(now)

    def want_for_unknown(self) -> bool:
        """Make up for a fetch that was not allowed, as the window ends; whether this is the first to ask."""
        return self._cooldown.want()

    def begun(self, now: float, for_unknown: bool) -> None:
        """Take note of a fetch that begins."""
        if for_unknown:
            self._cooldown.note(now)
        self._cooldown.wanted = False

    def succeeded(self, now: float, fresh: float) -> None:
        """Take note of a good answer, fresh for that many seconds."""
        self.last_failed, self._failures = False, 0
        self._next = now + fresh * REFRESH_AT * self._spread(0.9, 1.1)

    def failed(self, now: float, back_off: bool) -> None:
        """Take note that there was none. Without ``back_off``, the next fetch stays where it was."""
        self.last_failed = True
        if back_off:
            self._next = now + min(MAX_BACK_OFF, 2.0 ** min(self._failures, 8)) * self._spread(0.8, 1.0)
            self._failures += 1

    def due(self, now: float) -> bool:
        """Whether a scheduled fetch is to begin."""
        return now >= self._next

    def due_for_unknown(self, now: float) -> bool:
        """Whether one is to begin that makes up for a fetch that was not allowed."""
        return self._cooldown.wanted and self._cooldown.allows(now)

    def next_due(self) -> float:
        """Return when something is due."""
        return min(self._next, self._cooldown.ends() if self._cooldown.wanted else math.inf)

    def retry_at(self, holding: bool) -> float:
        """Return when asking again may help a token that was refused for want of a key; ``holding`` other keys."""
        return self._cooldown.ends() if holding else self._next
