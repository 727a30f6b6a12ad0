"""The cached key sets of all issuers, and when to refresh them."""

import logging
import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass, field

from zuplo_origin.encoding import printable
from zuplo_origin.observability.logs import Event

from .fetch import Deferred, Document, FetchFailed
from .keys import BadKeySet, KeySet, SignatureVerifier, WantedKey, parse_key_set
from .observer import KeyObserver

log = logging.getLogger("zuplo_origin.jwks")

FETCHES_PER_WINDOW = 2
"""Fetches for unknown keys in one cooldown window."""
MIN_FRESH = 30
"""Seconds below which no ``Cache-Control`` shortens the TTL."""
REFRESH_AT = 0.8
"""The fraction of its freshness after which a key set is refreshed in the background."""
MAX_BACK_OFF = 4.0
"""Seconds between two attempts during an outage, at most: the back-off starts at 1 and doubles."""
GRACE = 1.0
"""Seconds after its deadline at which a fetch counts as lost."""
FORK_WAIT = 1.0
"""Seconds that a fork waits for an in-flight fetch."""
LONGEST_PAUSE = 3600.0
"""Seconds after which the background thread checks all key sets, even if nothing is due."""
RANDOM = random.SystemRandom()
"""Leaves the random module's own generator alone: the application may seed it and expect a fixed sequence."""


class KeysUnavailable(Exception):
    """The keys of ``issuer`` cannot be fetched, whatever the token is. ``retry_after`` is in whole seconds."""

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
    cooldown: float = 30

    def fresh_for(self, max_age: int | None) -> float:
        """Return the seconds for which a response with this ``max-age`` is fresh (RFC 9111, section 5.2.2.1)."""
        return self.ttl if max_age is None else min(self.ttl, max(MIN_FRESH, max_age))


class Schedule:
    """The times of one issuer's fetches, past and future, in seconds of one clock. It has no lock of its own.

    At most two fetches for unknown keys begin in a cooldown window, failed ones included. ``wanted`` is a key that the
    cooldown allowed no fetch for: one is made when the window ends. ``jitter`` returns a number between its two
    arguments, so that many processes do not fetch at the same moment.
    """

    def __init__(self, policy: Policy, now: float, jitter: Callable[[float, float], float]) -> None:
        self._cooldown, self._jitter = policy.cooldown, jitter
        self._begun_for_unknown: deque[float] = deque(maxlen=FETCHES_PER_WINDOW)
        self._failures = 0
        self._next = now
        self.last_failed = False
        self.wanted: WantedKey | None = None

    def allows(self, now: float) -> bool:
        """Return whether a fetch may begin when no keys are cached: not during a back-off."""
        return self._failures == 0 or now >= self._next

    def allows_for_unknown(self, now: float) -> bool:
        """Return whether a fetch for an unknown key may begin when keys are cached."""
        return now >= self._window_end()

    def begun(self, now: float, wanted: WantedKey | None) -> None:
        if wanted is not None:
            self._begun_for_unknown.append(now)
        self.wanted = None

    def succeeded(self, now: float, fresh_for: float) -> None:
        self.last_failed, self._failures = False, 0
        self._next = now + fresh_for * REFRESH_AT * self._jitter(0.9, 1.1)

    def failed(self, now: float, back_off: bool) -> None:
        """Note a failed fetch. Without ``back_off``, the time of the next scheduled fetch does not change."""
        self.last_failed = True
        if back_off:
            self._next = now + min(MAX_BACK_OFF, 2.0 ** min(self._failures, 8)) * self._jitter(0.8, 1.0)
            self._failures += 1

    def due(self, now: float) -> bool:
        """Return whether the scheduled fetch should begin."""
        return now >= self._next

    def next_due(self) -> float:
        return self._next if self.wanted is None else min(self._next, self._window_end())

    def retry_at(self, has_keys: bool) -> float:
        """Return when a rejected request may succeed: its key is unknown, or no keys are cached at all."""
        return self._window_end() if has_keys else self._next

    def _window_end(self) -> float:
        begun = self._begun_for_unknown
        return begun[0] + self._cooldown if len(begun) == FETCHES_PER_WINDOW else -math.inf


@dataclass(frozen=True)
class CachedKeySet:
    """A key set and how long it may be used. ``generation`` changes when the content of the set changes."""

    key_set: KeySet
    body: bytes
    etag: str | None
    generation: int
    fetched_at: float
    fresh_until: float
    usable_until: float


def updated(
    before: CachedKeySet | None, document: Document, allowed: frozenset[str], policy: Policy, now: float
) -> CachedKeySet:
    """Return the cached key set after ``document`` arrived at ``now``.

    Raises ``BadKeySet``, and ``FetchFailed`` for an unchanged document when no keys are cached.
    """
    if before is not None and document.body in (None, before.body):
        key_set, body, generation = before.key_set, before.body, before.generation
    elif document.body is None:
        raise FetchFailed("the response has status 304, and no keys are cached")
    else:
        key_set, body = document.key_set or parse_key_set(document.body, allowed), document.body
        generation = before.generation + 1 if before else 1
    fetched_at = now - document.age
    fresh_until = fetched_at + policy.fresh_for(document.max_age)
    return CachedKeySet(
        key_set, body, document.etag, generation, fetched_at, fresh_until, fresh_until + policy.max_stale
    )


@dataclass(frozen=True)
class InFlightFetch:
    """A fetch that callers share. ``wanted`` is the unknown key that caused it, if one did.

    ``succeeded`` is the result: ``False`` if the issuer's keys could not be fetched.
    """

    begun: float
    wanted: WantedKey | None
    succeeded: "Future[bool]" = field(default_factory=Future)


class RemoteKeySet:
    """The key set of one issuer. Finding a cached key takes no lock and never waits for the network.

    ``fetch`` takes the cached ``ETag`` and, for a fetch that an unknown key caused, this key. It returns a
    ``Document``, or raises ``FetchFailed`` or ``Deferred``. ``allowed`` are algorithms. ``waiters`` limits how many
    threads wait for fetches. ``clock`` is in seconds, from any start; ``jitter`` is described at ``Schedule``.
    ``on_change`` is called when the time of the next fetch may have changed.
    """

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[str | None, WantedKey | None], Document],
        allowed: frozenset[str],
        policy: Policy,
        waiters: threading.BoundedSemaphore,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = RANDOM.uniform,
        observer: KeyObserver | None = None,
    ) -> None:
        self.issuer, self._fetch, self._allowed, self._policy = issuer, fetch, allowed, policy
        self._waiters, self._clock, self._jitter = waiters, clock, jitter
        self._observer = observer or KeyObserver()
        self._cached: CachedKeySet | None = None  # replaced as a whole, read without the lock
        self._logged_age = ""  # the last event about the age of the cached keys; guarded by the lock
        self.on_change: Callable[[], None] = lambda: None
        self._observer.begins(issuer)
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

    def is_fresh(self) -> bool:
        """Return whether a key set is cached that is not past its TTL."""
        cached = self._cached
        return cached is not None and self._clock() < cached.fresh_until

    def failing(self) -> bool:
        """Return whether the last fetch failed."""
        return self._schedule.last_failed

    def find(self, kid: str | None, algorithm: str) -> SignatureVerifier | None:
        """Return the verifier for a token's ``kid`` and ``algorithm``; ``None`` if the issuer has no such key.

        Waits for a fetch if no usable keys are cached, or if ``kid`` is unknown and the cooldown allows a fetch, but no
        longer than that fetch may take. Raises ``KeysUnavailable`` if the issuer's keys cannot be fetched.
        """
        for _ in range(2):  # the first in-flight fetch may have begun before the issuer published the key
            cached = self.cached()
            if cached is not None:
                verifier = cached.key_set.find(kid, algorithm)
                if verifier is not None or cached.key_set.knows(kid, algorithm):
                    return verifier
                self._observer.unknown_key(self.issuer)
            fetch, begun_here = self._join_or_begin(cached, WantedKey(kid, algorithm))
            if fetch is None:
                return None
            self._wait_for(fetch)
            if begun_here:
                break
        cached = self.cached()
        if cached is None:
            with self._lock:
                raise self._unavailable()
        return cached.key_set.find(kid, algorithm)

    def _join_or_begin(self, cached: CachedKeySet | None, wanted: WantedKey) -> tuple[InFlightFetch | None, bool]:
        """Return the fetch to wait for, and whether it begins here; ``None`` if the cooldown allows no fetch."""
        with self._lock:
            now, schedule = self._clock(), self._schedule
            self._abandon_lost_fetch(now)
            if self._in_flight is not None:
                return self._in_flight, False
            if cached is None:
                if schedule.allows(now):
                    return self._begin(now), True
                raise self._unavailable()
            if schedule.allows_for_unknown(now):
                return self._begin(now, wanted), True
            first, schedule.wanted = schedule.wanted is None, wanted
            self._observer.cooling_down(self.issuer)
            if first:
                self._log(logging.INFO, "jwks_cooldown")
                self.on_change()
            if schedule.last_failed:
                raise self._unavailable()
            return None, False

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
            elif self._schedule.wanted is not None and self._schedule.allows_for_unknown(now):
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
            self._note_failure(fetch, "no whole response before the deadline")
            fetch.succeeded.set_result(False)

    def _run(self, fetch: InFlightFetch) -> None:
        fetched, failure, outcome = None, "unhandled exception", "failed"
        before, began = self._cached, time.perf_counter()
        try:
            document = self._fetch(before.etag if before else None, fetch.wanted)
            fetched = updated(before, document, self._allowed, self._policy, self._clock())
            outcome = "shared" if document.age else "ok"
        except (FetchFailed, BadKeySet) as error:
            failure = str(error)
        except Deferred:
            outcome = "deferred"
        except Exception:
            log.exception(Event("jwks_fetch_error", issuer=self.issuer))
        with self._lock:
            if self._in_flight is not fetch:
                return  # abandoned
            self._in_flight = None
            self._observer.fetched(self.issuer, outcome, time.perf_counter() - began)
            if outcome == "deferred":
                self._schedule.wanted = fetch.wanted
            elif fetched is None:
                self._note_failure(fetch, failure)
            else:
                self._note_success(before, fetched)
        fetch.succeeded.set_result(outcome != "failed")
        self.on_change()

    def _note_success(self, before: CachedKeySet | None, fetched: CachedKeySet) -> None:
        """Cache ``fetched``; log the end of an outage, first keys and rotations. The caller holds the lock."""
        self._logged_age = ""
        epoch, keys = time.time() - self._clock(), len(fetched.key_set.keys)
        self._observer.holds(self.issuer, keys, epoch + fetched.fetched_at, epoch + fetched.fresh_until)
        if self._schedule.last_failed:
            self._log(logging.INFO, "jwks_outage_over")
        if before is None or before.generation != fetched.generation:
            self._log(logging.INFO, "jwks_rotated" if before else "jwks_first_keys", keys=keys)
            for skipped in fetched.key_set.unusable:
                self._log(logging.WARNING, "jwks_key_skipped", kid=printable(skipped.kid), why=skipped.why)
        self._cached = fetched
        self._schedule.succeeded(fetched.fetched_at, fetched.fresh_until - fetched.fetched_at)

    def _note_failure(self, fetch: InFlightFetch, why: str) -> None:
        """Log the start of an outage, and when cached keys become stale or expire. The caller holds the lock."""
        now, cached = self._clock(), self._cached
        if not self._schedule.last_failed:
            self._log(logging.WARNING, "jwks_outage_begins", why=why)
        fresh = cached is not None and now < cached.fresh_until
        if cached is not None and not fresh:
            stale = now < cached.usable_until
            event = "jwks_serving_stale" if stale else "jwks_keys_expired"
            if not stale:
                self._observer.holds_none(self.issuer)
            if event != self._logged_age:
                self._log(logging.WARNING, event, seconds_left=max(0, int(cached.usable_until - now)))
            self._logged_age = event
        # an unknown kid from an untrusted client must not start a back-off
        self._schedule.failed(now, back_off=fetch.wanted is None or not fresh)

    def _log(self, level: int, event: str, **fields: object) -> None:
        log.log(level, Event(event, issuer=self.issuer, **fields))


class KeySets(Mapping[str, RemoteKeySet]):
    """One ``RemoteKeySet`` for each issuer. Bound to the container as ``jwks``."""

    def __init__(self, key_sets: Iterable[RemoteKeySet]) -> None:
        self._by_issuer = {key_set.issuer: key_set for key_set in key_sets}
        self._wake = threading.Event()

    def __getitem__(self, issuer: str) -> RemoteKeySet:
        return self._by_issuer[issuer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_issuer)

    def __len__(self) -> int:
        return len(self._by_issuer)

    def readiness(self) -> str:
        """Return ``ok``, ``degraded`` if an issuer has no usable keys or fails, ``unavailable`` if none has any."""
        cached = [key_set.cached() for key_set in self.values()]
        if not any(cached):
            return "unavailable"
        fine = all(cached) and not any(key_set.failing() for key_set in self.values())
        return "ok" if fine else "degraded"

    def start(self) -> None:
        """Begin the first fetches, and refresh the key sets for as long as this process and its forks live."""
        self._start_thread()
        # a forked child has none of the threads, but every lock that one of them held: the import lock of a module
        # that the first fetch imports, say
        os.register_at_fork(
            before=lambda: self._each(RemoteKeySet.acquire_for_fork),
            after_in_parent=lambda: self._each(RemoteKeySet.release_after_fork),
            after_in_child=self._restart,
        )

    def wait_for_first_fetches(self, seconds: float) -> None:
        """Wait until a fetch from each issuer has succeeded or failed, for ``seconds`` at most."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(each.cached() or each.failing() for each in self.values()):
            time.sleep(0.01)

    def _start_thread(self) -> None:
        self._wake = threading.Event()
        for key_set in self.values():
            key_set.on_change = self._wake.set
        threading.Thread(target=self._refresh_forever, name="jwks-refresh", daemon=True).start()

    def _refresh_forever(self) -> None:
        while True:
            self._wake.clear()
            pause = LONGEST_PAUSE
            try:
                for key_set in self.values():
                    key_set.refresh_if_due()
                    pause = min(pause, key_set.until_due())
            except Exception:  # this thread must not end: starting a fetch's thread may fail once, say
                log.exception(Event("jwks_refresh_error"))
                pause = 1.0
            self._wake.wait(pause)

    def _restart(self) -> None:
        self._each(RemoteKeySet.reset)
        self._start_thread()

    def _each(self, method: Callable[[RemoteKeySet], None]) -> None:
        for key_set in self.values():
            method(key_set)
