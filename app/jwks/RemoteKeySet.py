"""The keys of one issuer, held and renewed: when to fetch, who waits for it, and for how long."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .Cooldown import Cooldown
from .fetch import Document, FetchFailed
from .keys import Verifier
from .KeySet import BadKeySet, KeySet, parse_key_set
from .WaitingRoom import WaitingRoom

log = logging.getLogger("app.jwks")

MIN_FRESH = 30
"""Seconds below which no ``Cache-Control`` shortens the TTL."""
REFRESH_AT = 0.8
"""The part of its freshness after which a set is renewed in the background."""
MAX_BACK_OFF = 4.0
"""Seconds between two tries of an outage, at the most: 1, doubling to this."""
GRACE = 1.0
"""Seconds past its deadline after which a fetch counts as lost."""


class KeysUnavailable(Exception):
    """No key of ``issuer`` can be had, through no fault of the token's. ``retry_after`` is in seconds."""

    def __init__(self, issuer: str, retry_after: float) -> None:
        super().__init__("signing keys unavailable")
        self.issuer = issuer
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass(frozen=True)
class Policy:
    """When a key set is fetched, in seconds: see the settings ``JWKS_*`` of the same names."""

    ttl: float = 600
    max_stale: float = 3600
    timeout: float = 5
    cooldown: float = 30


@dataclass(frozen=True)
class Held:
    """A key set, and until when it serves. ``generation`` changes with the set's content, and with nothing else."""

    key_set: KeySet
    body: bytes
    etag: str | None
    generation: int
    fetched_at: float
    fresh_until: float
    usable_until: float


class Fetch:
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


class RemoteKeySet:
    """The keys of one issuer. A key that is held is found without a lock and without the network.

    ``fetch`` takes the ``ETag`` held and returns a ``Document`` or raises ``FetchFailed``; ``allowed`` are algorithms.
    ``clock`` is in seconds, from any start; ``spread`` returns a number between its two arguments, so that many
    processes do not move in step. ``on_change`` is called where the time of the next fetch may have moved.
    """

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[str | None], Document],
        allowed: frozenset[str],
        policy: Policy,
        waiting_room: WaitingRoom,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.issuer, self._fetch, self._allowed, self._policy = issuer, fetch, allowed, policy
        self._waiting_room, self._clock, self._spread = waiting_room, clock, spread
        self._held: Held | None = None  # replaced whole, read without the lock
        self.on_change: Callable[[], None] = lambda: None
        self.restart()

    def restart(self) -> None:
        """Forget whatever was under way: for a process that was forked in the middle of it."""
        self._lock = threading.Lock()  # guards all below; never held over a fetch
        self._under_way: Fetch | None = None
        self._cooldown = Cooldown(self._policy.cooldown)
        self._last_failed = False
        self._failures = 0
        self._next_fetch = self._clock()

    def held(self) -> Held | None:
        """Return the keys that may serve now, fresh or stale; ``None`` where there are none."""
        held = self._held
        return held if held is not None and self._clock() < held.usable_until else None

    def failing(self) -> bool:
        """Whether the last fetch failed."""
        return self._last_failed

    def find(self, kid: str | None, algorithm: str) -> Verifier | None:
        """Return the verifier for a token's ``kid`` and ``algorithm``; ``None`` where the issuer has no such key.

        Waits for a fetch where no usable keys are held, or where ``kid`` is unknown and the cooldown allows one, but no
        longer than that fetch may take. Raises ``KeysUnavailable`` where the answer is not known.
        """
        for _ in range(2):  # the fetch that is joined first may have begun before the key was published
            held = self.held()
            if held is not None:
                verifier = held.key_set.find(kid, algorithm)
                if verifier is not None or held.key_set.answers(kid, algorithm):
                    return verifier
            fetch, begun_here = self._fetch_for(held)
            if fetch is None:
                return None
            self._wait_for(fetch)
            if begun_here:
                break
        held = self.held()
        if held is None:
            raise KeysUnavailable(self.issuer, self._retry_after())
        return held.key_set.find(kid, algorithm)

    def _fetch_for(self, held: Held | None) -> tuple[Fetch | None, bool]:
        """Return the fetch to wait for, and whether it begins here; no fetch where asking again would be no use."""
        with self._lock:
            now = self._clock()
            self._give_up_on_lost(now)
            if self._under_way is not None:
                return self._under_way, False
            if held is None:
                if self._failures and now < self._next_fetch:
                    raise KeysUnavailable(self.issuer, self._next_fetch - now)
                return self._begin(now), True
            if self._cooldown.allows(now):
                return self._begin(now, for_unknown=True), True
            if self._cooldown.want():
                log.info("jwks_cooldown issuer=%s", self.issuer)
                self.on_change()
            if self._last_failed:
                raise KeysUnavailable(self.issuer, self._cooldown.ends() - now)
            return None, False

    def _wait_for(self, fetch: Fetch) -> None:
        with self._waiting_room.seat() as seated:
            if not seated or not fetch.wait(self._policy.timeout) or fetch.failed:
                raise KeysUnavailable(self.issuer, self._retry_after())

    def _retry_after(self) -> float:
        """Seconds until asking again may help."""
        with self._lock:
            now = self._clock()
            if self.held() is None:
                return self._next_fetch - now
            return 0.0 if self._cooldown.allows(now) else self._cooldown.ends() - now

    def until_due(self) -> float:
        """Seconds until there is something to do: the next scheduled fetch, or the end of a lost one."""
        with self._lock:
            if self._under_way is not None:
                due = self._under_way.begun + self._policy.timeout + GRACE
            else:
                due = min(self._next_fetch, self._cooldown.ends() if self._cooldown.wanted else math.inf)
            return max(0.0, due - self._clock())

    def refresh_if_due(self) -> None:
        """Begin the scheduled fetch where its time has come. Returns at once."""
        with self._lock:
            now = self._clock()
            self._give_up_on_lost(now)
            if self._under_way is not None:
                return
            if now >= self._next_fetch:
                self._begin(now)
            elif self._cooldown.wanted and self._cooldown.allows(now):
                self._begin(now, for_unknown=True)

    def _begin(self, now: float, for_unknown: bool = False) -> Fetch:
        """Begin a fetch in a thread of its own. The lock is held."""
        if for_unknown:
            self._cooldown.note(now)
        self._cooldown.wanted = False
        fetch = Fetch(now, for_unknown)
        threading.Thread(target=self._run, args=(fetch,), name="jwks-fetch", daemon=True).start()
        self._under_way = fetch
        return fetch

    def _give_up_on_lost(self, now: float) -> None:
        """Count a fetch as failed that should have ended: one that hangs in the resolver, say. The lock is held."""
        fetch = self._under_way
        if fetch is not None and now >= fetch.begun + self._policy.timeout + GRACE:
            self._under_way = None
            self._settle_failure(fetch, "no whole answer before the deadline")
            fetch.finish(failed=True)

    def _run(self, fetch: Fetch) -> None:
        answer, failure = None, "the fetch broke"
        held = self._held
        try:
            answer = self._answer(held)
        except (FetchFailed, BadKeySet) as error:
            failure = str(error)
        except Exception:
            log.exception("jwks_fetch_broke issuer=%s", self.issuer)
        with self._lock:
            if self._under_way is not fetch:
                return  # given up on
            self._under_way = None
            if answer is None:
                self._settle_failure(fetch, failure)
            else:
                self._settle_success(held, answer)
        fetch.finish(failed=answer is None)
        self.on_change()

    def _answer(self, held: Held | None) -> Held:
        document = self._fetch(held.etag if held else None)
        now, fresh = self._clock(), self._policy.ttl
        if document.max_age is not None:
            fresh = min(fresh, max(MIN_FRESH, document.max_age))
        if held is not None and document.body in (None, held.body):
            key_set, body, generation = held.key_set, held.body, held.generation
        elif document.body is None:
            raise FetchFailed("the answer has status 304, and no keys are held")
        else:
            key_set, body = parse_key_set(document.body, self._allowed), document.body
            generation = held.generation + 1 if held else 1
        until = now + fresh
        return Held(key_set, body, document.etag, generation, now, until, until + self._policy.max_stale)

    def _settle_success(self, before: Held | None, answer: Held) -> None:
        """Take over a good answer. The lock is held."""
        if self._last_failed:
            log.info("jwks_outage_over issuer=%s", self.issuer)
        if before is None or before.generation != answer.generation:
            event = "jwks_rotated" if before else "jwks_first_keys"
            log.info("%s issuer=%s keys=%d", event, self.issuer, len(answer.key_set.keys))
            for entry in answer.key_set.unusable:
                log.warning("jwks_key_refused issuer=%s kid=%r why=%r", self.issuer, (entry.kid or "")[:64], entry.why)
        self._held, self._failures, self._last_failed = answer, 0, False
        fresh = answer.fresh_until - answer.fetched_at
        self._next_fetch = self._clock() + fresh * REFRESH_AT * self._spread(0.9, 1.1)

    def _settle_failure(self, fetch: Fetch, why: str) -> None:
        """Take over that there is no answer. The lock is held."""
        now, held = self._clock(), self._held
        if not self._last_failed:
            log.warning("jwks_outage_begins issuer=%s why=%r", self.issuer, why)
        self._last_failed = True
        if fetch.for_unknown and held is not None and now < held.fresh_until:
            return  # strangers' kids start no back-off
        if held is not None and self._failures == 0:
            log.warning("jwks_serving_held_keys issuer=%s seconds=%d", self.issuer, max(0, held.usable_until - now))
        self._failures += 1
        self._next_fetch = now + min(MAX_BACK_OFF, 2.0 ** min(self._failures - 1, 8)) * self._spread(0.8, 1.0)
