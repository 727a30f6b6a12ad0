"""The cached key set of one issuer, and when to refresh it."""

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass, field

from zuplo_origin.encoding import printable
from zuplo_origin.observability.logs import Event

from .algorithms import SignatureVerifier
from .failures import Cause, Failure, FetchFailed
from .fetch import Deferred, Document
from .keys import MAX_REASONS, KeySet, WantedKey, parse_key_set
from .observer import KeyObserver

log = logging.getLogger("zuplo_origin.jwks")

FETCHES_PER_WINDOW = 2
"""Fetches for unknown or replaced keys in one cooldown window."""
MOST_FITTING = 4
"""Keys that are tried for one token, at most."""
MIN_FRESH = 30
"""Seconds below which no ``Cache-Control`` shortens the TTL."""
REFRESH_AT = 0.8
"""The fraction of its freshness after which a key set is refreshed in the background."""
MAX_BACK_OFF, MAX_BACK_OFF_WITHOUT_KEYS = 60.0, 4.0
"""Seconds between two attempts during an outage, at most: the back-off starts at 1 and doubles."""
GRACE = 1.0
"""Seconds after its deadline at which a fetch counts as lost."""
FORK_WAIT = 1.0
"""Seconds that a fork waits for an in-flight fetch."""
RANDOM = random.SystemRandom()
"""Leaves the random module's own generator alone: the application may seed it and expect a fixed sequence."""


class KeysUnavailable(Exception):
    """The keys of ``issuer`` cannot be fetched now. ``retry_after`` is in whole seconds."""

    def __init__(self, issuer: str, retry_after: float) -> None:
        super().__init__("signing keys unavailable")
        self.issuer = issuer
        self.retry_after = math.ceil(max(1.0, retry_after))


@dataclass(frozen=True)
class Policy:
    """The times of a key set, in seconds: the settings ``JWKS_*`` of the same names."""

    ttl: float = 600
    max_stale: float = 3600
    timeout: float = 5
    cooldown: float = 10

    def fresh_for(self, max_age: int | None) -> float:
        """Return the seconds for which a response with this ``max-age`` is fresh (RFC 9111, section 5.2.2.1)."""
        return self.ttl if max_age is None else min(self.ttl, max(MIN_FRESH, max_age))


class Schedule:
    """The times of one issuer's fetches, past and future, in seconds of one clock. It has no lock of its own.

    At most two fetches for unknown or replaced keys begin in a cooldown window, failed ones included. ``wanted`` is a
    key that the cooldown allowed no fetch for: one is made when the window ends. ``jitter`` returns a number between
    its two arguments, so that many processes do not fetch at the same moment.
    """

    def __init__(self, policy: Policy, now: float, jitter: Callable[[float, float], float]) -> None:
        self._policy, self._jitter = policy, jitter
        self._begun_for_wanted: deque[float] = deque(maxlen=FETCHES_PER_WINDOW)
        self._failures = 0
        self._next = now
        self._not_before = -math.inf  # the issuer's Retry-After, or the end of the window of all processes
        self.last_failed = False
        self.wanted: WantedKey | None = None

    def allows(self, now: float) -> bool:
        """Return whether a fetch may begin when no keys are cached: not during a back-off."""
        return self._failures == 0 or now >= self._next

    def allows_for_wanted(self, now: float) -> bool:
        """Return whether a fetch for an unknown or replaced key may begin when keys are cached."""
        return now >= self._window_end()

    def begun(self, now: float, wanted: WantedKey | None) -> None:
        if wanted is not None:
            self._begun_for_wanted.append(now)
        self.wanted = None

    def succeeded(self, now: float, fresh_for: float) -> None:
        self.last_failed, self._failures, self._not_before = False, 0, -math.inf
        self._next = now + fresh_for * REFRESH_AT * self._jitter(0.9, 1.1)

    def failed(self, now: float, back_off: bool, usable_until: float, retry_after: float | None) -> None:
        """Note a failed fetch. Without ``back_off``, the time of the next scheduled fetch does not change.

        ``usable_until`` is when the cached keys expire: the long back-off ends then. ``retry_after``, in seconds, is
        the issuer's wish; it delays every fetch, up to ``JWKS_MAX_STALE``.
        """
        self.last_failed = True
        if back_off:
            longest = min(MAX_BACK_OFF, max(MAX_BACK_OFF_WITHOUT_KEYS, usable_until - now))
            self._next = now + min(longest, 2.0 ** min(self._failures, 8)) * self._jitter(0.8, 1.0)
            self._failures += 1
        if retry_after:
            self._not_before = now + min(retry_after, self._policy.max_stale)
            self._next = max(self._next, self._not_before)

    def deferred(self, wanted: WantedKey | None, until: float) -> None:
        """Note that other processes have made the fetches of the window, which ends at ``until``."""
        self.wanted, self._not_before = wanted, until

    def due(self, now: float) -> bool:
        """Return whether the scheduled fetch should begin."""
        return now >= self._next

    def next_due(self) -> float:
        return self._next if self.wanted is None else min(self._next, self._window_end())

    def retry_at(self, has_keys: bool) -> float:
        """Return when a rejected request may succeed: its key is unknown, or no keys are cached at all."""
        return self._window_end() if has_keys else self._next

    def _window_end(self) -> float:
        begun = self._begun_for_wanted
        end = begun[0] + self._policy.cooldown if len(begun) == FETCHES_PER_WINDOW else -math.inf
        return max(end, self._not_before)


@dataclass(frozen=True)
class CachedKeySet:
    """A key set and how long it may be used. ``generation`` changes when the content of the set changes."""

    key_set: KeySet
    body: bytes
    generation: int
    fetched_at: float
    fresh_until: float
    usable_until: float


def updated(
    before: CachedKeySet | None, document: Document, allowed: frozenset[str], policy: Policy, now: float
) -> CachedKeySet:
    """Return the cached key set after ``document`` arrived at ``now``. Raises ``BadKeySet``."""
    if before is not None and document.body == before.body:
        key_set, generation = before.key_set, before.generation
    else:
        key_set = document.key_set or parse_key_set(document.body, allowed, document.url)
        generation = before.generation + 1 if before else 1
    fetched_at = now - document.age
    fresh_until = fetched_at + policy.fresh_for(document.max_age)
    return CachedKeySet(key_set, document.body, generation, fetched_at, fresh_until, fresh_until + policy.max_stale)


@dataclass(frozen=True)
class InFlightFetch:
    """A fetch that callers share. ``wanted`` is the unknown or replaced key that caused it, if one did.

    ``succeeded`` is the result: ``False`` if the issuer's keys could not be fetched.
    """

    begun: float
    wanted: WantedKey | None
    succeeded: "Future[bool]" = field(default_factory=Future)


class RemoteKeySet:
    """The key set of one issuer. Finding a cached key takes no lock and never waits for the network.

    ``fetch`` takes the unknown or replaced key that caused the fetch, if one did. It returns a ``Document``, or raises
    ``Failure`` or ``Deferred``. ``allowed`` are algorithms. ``waiters`` limits how many threads wait for fetches.
    ``clock`` is in seconds, from any start; ``jitter`` is described at ``Schedule``. ``on_change`` is called when the
    time of the next fetch may have changed.
    """

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[WantedKey | None], Document],
        allowed: frozenset[str],
        policy: Policy,
        waiters: threading.BoundedSemaphore,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = RANDOM.uniform,
        observer: KeyObserver | None = None,
    ) -> None:
        self.issuer, self._fetch, self._allowed, self._policy = issuer, fetch, allowed, policy
        self._waiters, self._clock, self._jitter = waiters, clock, jitter
        self._observer = observer
        self._cached: CachedKeySet | None = None  # replaced as a whole, read without the lock
        self._failure: Failure | None = None  # of the last fetch
        self._logged_age = ""  # the last event about the age of the cached keys; guarded by the lock
        self._logged_ambiguity = 0  # the generation whose many fitting keys were logged
        self.on_change: Callable[[], None] = lambda: None
        if observer is not None:
            observer.begins(issuer)
        self.reset()

    def reset(self) -> None:
        """Forget the in-flight fetch and the schedule, and replace the lock: for a forked child process."""
        self._lock = threading.Lock()  # guards the two below; not held during a fetch
        self._in_flight: InFlightFetch | None = None
        self._schedule = Schedule(self._policy, self._clock(), self._jitter)

    def acquire_for_fork(self) -> None:
        """Let the in-flight fetch end, for a second at most, and keep others from beginning until the fork is over.

        A fetch that takes longer is waiting for its issuer, and holds no lock of another module.
        """
        with self._lock:  # a fetch that another thread begins at this moment is seen as well
            fetch = self._in_flight
        if fetch is not None:
            wait_for_futures([fetch.succeeded], FORK_WAIT)
        self._lock.acquire()

    def release_after_fork(self) -> None:
        """Allow fetches again, in the parent process."""
        self._lock.release()

    def cached(self) -> CachedKeySet | None:
        """Return the key set that may be used now, fresh or stale; ``None`` if there is none."""
        cached = self._cached
        return cached if cached is not None and self._clock() < cached.usable_until else None

    def generation(self) -> int | None:
        """Return the generation of the key set that may be used now; ``None`` if there is none."""
        cached = self.cached()
        return cached.generation if cached else None

    def age(self) -> float | None:
        """Return how many seconds ago the usable key set was fetched; ``None`` if there is none."""
        cached = self.cached()
        return self._clock() - cached.fetched_at if cached else None

    def next_refresh_in(self) -> float:
        """Return the seconds until the next scheduled fetch; negative if it is due."""
        return self._schedule.next_due() - self._clock()

    def is_fresh(self) -> bool:
        """Return whether a key set is cached that is not past its TTL."""
        cached = self._cached
        return cached is not None and self._clock() < cached.fresh_until

    def failing(self) -> bool:
        """Return whether the last fetch failed."""
        return self._schedule.last_failed

    def failure(self) -> Failure | None:
        """Return why the last fetch failed; ``None`` if it did not."""
        return self._failure if self._schedule.last_failed else None

    def find(
        self, kid: str | None, algorithm: str, tried: tuple[SignatureVerifier, ...] = ()
    ) -> tuple[SignatureVerifier, ...]:
        """Return the verifiers of the keys that fit a token's ``kid`` and ``algorithm``; none if the issuer has none.

        With ``tried``, verifiers that did not verify the token's signature, only others are returned: the issuer may
        have replaced a key under its ``kid``. Waits for a fetch if no usable keys are cached, or if no key fits and the
        cooldown allows a fetch, but no longer than that fetch may take. Raises ``KeysUnavailable`` if the key may exist
        and the issuer's keys cannot be fetched now; never for a ``kid`` that is cached.
        """
        wanted = WantedKey(kid, algorithm, bool(tried))
        for _ in range(2):  # the first in-flight fetch may have begun before the issuer published the key
            cached = self.cached()
            if cached is not None:
                fitting = self._fitting(cached, kid, algorithm, tried)
                if fitting:
                    return fitting
                if not tried and self._observer is not None:
                    self._observer.unknown_key(self.issuer)
            is_known = cached is not None and (bool(tried) or cached.key_set.knows(kid, algorithm))
            try:
                fetch, begun_here = self._join_or_begin(cached, wanted)
                self._wait_for(fetch)
            except KeysUnavailable:
                newest = self.cached()  # another process's, though not the newest that the issuer may have
                fitting = self._fitting(newest, kid, algorithm, tried) if newest is not None else ()
                if fitting or is_known:
                    return fitting
                raise
            if begun_here:
                break
        cached = self.cached()
        if cached is None:
            with self._lock:
                raise self._unavailable()
        return self._fitting(cached, kid, algorithm, tried)

    def _fitting(
        self, cached: CachedKeySet, kid: str | None, algorithm: str, tried: tuple[SignatureVerifier, ...]
    ) -> tuple[SignatureVerifier, ...]:
        """Return the verifiers that fit, four at most, without those that were tried."""
        fitting = cached.key_set.find(kid, algorithm)
        if len(fitting) > MOST_FITTING:
            if self._logged_ambiguity != cached.generation:
                self._logged_ambiguity = cached.generation
                fields = {"kid": printable(kid), "alg": algorithm, "fitting": len(fitting), "tried": MOST_FITTING}
                self._log(logging.WARNING, "jwks_many_keys_fit", **fields)
            fitting = fitting[:MOST_FITTING]
        return tuple(each for each in fitting if each not in tried) if tried else fitting

    def _join_or_begin(self, cached: CachedKeySet | None, wanted: WantedKey) -> tuple[InFlightFetch, bool]:
        """Return the fetch to wait for, and whether it begins here. Raises ``KeysUnavailable`` if none may begin."""
        with self._lock:
            now, schedule = self._clock(), self._schedule
            self._abandon_lost_fetch(now)
            if self._in_flight is not None:
                return self._in_flight, False
            if cached is None:
                if schedule.allows(now):
                    return self._begin(now), True
                raise self._unavailable()
            if schedule.allows_for_wanted(now):
                return self._begin(now, wanted), True
            first, schedule.wanted = schedule.wanted is None, wanted
            if self._observer is not None:
                self._observer.cooling_down(self.issuer)
            if first:
                self._log(logging.INFO, "jwks_cooldown")
                self.on_change()
            raise self._unavailable()

    def _wait_for(self, fetch: InFlightFetch) -> None:
        if self._waiters.acquire(blocking=False):
            try:
                left = fetch.begun + self._policy.timeout - self._clock()
                done, _ = wait_for_futures([fetch.succeeded], max(0.0, left))
            finally:
                self._waiters.release()
            if done and fetch.succeeded.result():
                return
        with self._lock:
            raise self._unavailable()

    def _unavailable(self) -> KeysUnavailable:
        """Return the error to raise. The caller holds the lock."""
        fetch = self._in_flight
        if fetch is not None:
            retry_at = fetch.begun + self._policy.timeout
        else:
            retry_at = self._schedule.retry_at(has_keys=self.cached() is not None)
        return KeysUnavailable(self.issuer, retry_at - self._clock())

    def until_due(self) -> float:
        """Return the seconds until the next scheduled fetch, or until an in-flight fetch counts as lost."""
        with self._lock:
            fetch = self._in_flight
            due = fetch.begun + self._policy.timeout + GRACE if fetch else self._schedule.next_due()
            return max(0.0, due - self._clock())

    def refresh_if_due(self) -> None:
        """Begin the scheduled fetch if it is due. Does not wait for it."""
        with self._lock:
            now = self._clock()
            self._abandon_lost_fetch(now)
            if self._in_flight is not None:
                return
            if self._schedule.due(now):
                self._begin(now)
            elif self._schedule.wanted is not None and self._schedule.allows_for_wanted(now):
                self._begin(now, self._schedule.wanted)

    def _begin(self, now: float, wanted: WantedKey | None = None) -> InFlightFetch:
        """Begin a fetch in a thread of its own. The caller holds the lock."""
        fetch = InFlightFetch(now, wanted)
        threading.Thread(target=self._run, args=(fetch,), name="jwks-fetch", daemon=True).start()
        self._in_flight = fetch
        self._schedule.begun(now, wanted)
        return fetch

    def _abandon_lost_fetch(self, now: float) -> None:
        """Count a fetch as failed that is past its deadline: name resolution may hang. The caller holds the lock."""
        fetch = self._in_flight
        if fetch is not None and now >= fetch.begun + self._policy.timeout + GRACE:
            self._in_flight = None
            text = f"no result within {self._policy.timeout:g} s (JWKS_TIMEOUT): name resolution hangs; check DNS"
            self._note_failure(fetch, FetchFailed(Cause.RESOLVE_TIMEOUT, text))
            fetch.succeeded.set_result(False)

    def _run(self, fetch: InFlightFetch) -> None:
        fetched, outcome = None, "failed"
        failure: Failure | None = None
        deferred_for, before, began = 0.0, self._cached, time.perf_counter()
        try:
            document = self._fetch(fetch.wanted)
            fetched = updated(before, document, self._allowed, self._policy, self._clock())
            outcome, deferred_for = "shared" if document.age else "ok", document.deferred_for
        except Failure as error:
            failure = error.with_traceback(None)  # a traceback would keep the response in memory
        except Deferred as deferred:
            outcome, deferred_for = "deferred", deferred.seconds
        except Exception:
            log.exception(Event("jwks_fetch_error", issuer=self.issuer))
            failure = Failure(Cause.UNHANDLED, "an unhandled exception: the log has its traceback")
        with self._lock:
            if self._in_flight is not fetch:
                return  # abandoned
            self._in_flight = None
            if self._observer is not None:
                self._observer.fetched(self.issuer, outcome, time.perf_counter() - began)
            if fetched is not None:
                self._note_success(before, fetched)
            elif failure is not None:
                self._note_failure(fetch, failure)
            if deferred_for:
                self._schedule.deferred(fetch.wanted, self._clock() + deferred_for)
        fetch.succeeded.set_result(fetched is not None and not deferred_for)
        self.on_change()

    def _note_success(self, before: CachedKeySet | None, fetched: CachedKeySet) -> None:
        """Cache ``fetched``; log the end of an outage, first keys and rotations. The caller holds the lock."""
        self._logged_age = ""
        epoch, keys = time.time() - self._clock(), len(fetched.key_set.keys)
        if self._observer is not None:
            self._observer.holds(self.issuer, keys, epoch + fetched.fetched_at, epoch + fetched.fresh_until)
        if self._schedule.last_failed:
            self._log(logging.INFO, "jwks_outage_over")
        if before is None or before.generation != fetched.generation:
            self._log(logging.INFO, "jwks_rotated" if before else "jwks_first_keys", keys=keys)
            self._log_skipped(before, fetched)
        self._cached, self._failure = fetched, None
        self._schedule.succeeded(fetched.fetched_at, fetched.fresh_until - fetched.fetched_at)

    def _log_skipped(self, before: CachedKeySet | None, fetched: CachedKeySet) -> None:
        """Log the unusable keys that were not in the last key set: a few, and how many more."""
        known = before.key_set.unusable if before else ()
        skipped = [each for each in fetched.key_set.unusable if each not in known]
        for each in skipped[:MAX_REASONS]:
            self._log(logging.WARNING, "jwks_key_skipped", kid=printable(each.kid), why=each.why)
        if len(skipped) > MAX_REASONS:
            self._log(logging.WARNING, "jwks_keys_skipped", more=len(skipped) - MAX_REASONS)

    def _note_failure(self, fetch: InFlightFetch, failure: Failure) -> None:
        """Log the start of an outage, and when cached keys become stale or expire. The caller holds the lock."""
        now, cached, last = self._clock(), self._cached, self.failure()
        if last is None or last.cause is not failure.cause:
            event = "jwks_outage_begins" if last is None else "jwks_outage_changes"
            self._log(logging.WARNING, event, cause=failure.cause.value, why=str(failure))
        self._failure = failure
        fresh = cached is not None and now < cached.fresh_until
        if cached is not None and not fresh:
            stale = now < cached.usable_until
            event = "jwks_serving_stale" if stale else "jwks_keys_expired"
            if not stale and self._observer is not None:
                self._observer.holds_none(self.issuer)
            if event != self._logged_age:
                self._log(logging.WARNING, event, seconds_left=max(0, int(cached.usable_until - now)))
            self._logged_age = event
        # an unknown kid from an untrusted client must not start a back-off
        back_off = fetch.wanted is None or not fresh
        usable_until = cached.usable_until if cached is not None else now
        self._schedule.failed(now, back_off, usable_until, getattr(failure, "retry_after", None))

    def _log(self, level: int, event: str, **fields: object) -> None:
        log.log(level, Event(event, issuer=self.issuer, **fields))
