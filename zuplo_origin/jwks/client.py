"""The cached key sets of all issuers, and when to refresh them."""

import logging
import math
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from zuplo_origin.encoding import printable
from zuplo_origin.observability.logs import Event

from .fetch import Deferred, Document, FetchFailed
from .keys import BadKeySet, KeySet, Verifier, parse_key_set
from .observer import KeyObserver


class KeysUnavailable(Exception):
    """No key of ``issuer`` can be had, through no fault of the token's. ``retry_after`` is in seconds."""

    def __init__(self, issuer: str, retry_after: float) -> None:
        super().__init__("signing keys unavailable")
        self.issuer = issuer
        self.retry_after = math.ceil(max(1.0, retry_after))


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


def renewed(held: Held | None, document: Document, allowed: frozenset[str], policy: Policy, now: float) -> Held:
    """Return what is held after ``document`` arrived ``now``, with ``held`` before it.

    Raises ``BadKeySet``, and ``FetchFailed`` where nothing was held that could be unchanged.
    """
    if held is not None and document.body in (None, held.body):
        key_set, body, generation = held.key_set, held.body, held.generation
    elif document.body is None:
        raise FetchFailed("the answer has status 304, and no keys are held")
    else:
        key_set, body = parse_key_set(document.body, allowed), document.body
        generation = held.generation + 1 if held else 1
    fetched_at = now - document.age
    fresh_until = fetched_at + policy.fresh_for(document.max_age)
    return Held(key_set, body, document.etag, generation, fetched_at, fresh_until, fresh_until + policy.max_stale)


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


log = logging.getLogger("zuplo_origin.jwks")


class Journal:
    """The lines of one ``issuer``, an event and its fields each. Whoever writes them holds the key set's lock."""

    def __init__(self, issuer: str, observer: KeyObserver) -> None:
        self._issuer, self._observer = issuer, observer
        self._age = ""
        observer.begins(issuer)

    def fetched(self, outcome: str, seconds: float) -> None:
        """A fetch is over."""
        self._observer.fetched(self._issuer, outcome, seconds)

    def answered(self, before: Held | None, answer: Held, after_failure: bool, now: float) -> None:
        """A good answer came: the end of an outage, first keys, a rotation, keys that are refused."""
        self._age = ""
        epoch = time.time() - now
        times = epoch + answer.fetched_at, epoch + answer.fresh_until
        self._observer.holds(self._issuer, len(answer.key_set.keys), *times)
        if after_failure:
            log.info(Event("jwks_outage_over", issuer=self._issuer))
        if before is None or before.generation != answer.generation:
            event = "jwks_rotated" if before else "jwks_first_keys"
            log.info(Event(event, issuer=self._issuer, keys=len(answer.key_set.keys)))
            for entry in answer.key_set.unusable:
                log.warning(Event("jwks_key_refused", issuer=self._issuer, kid=printable(entry.kid), why=entry.why))

    def failed(self, why: str, held: Held | None, now: float, after_failure: bool) -> None:
        """No good answer came: the beginning of an outage, and how ``held`` fares in it."""
        if not after_failure:
            log.warning(Event("jwks_outage_begins", issuer=self._issuer, why=why))
        self.aged(held, now)

    def aged(self, held: Held | None, now: float) -> None:
        """Tell once that held keys are past their freshness, and once that they serve no more."""
        if held is None or now < held.fresh_until:
            age = ""
        elif now < held.usable_until:
            age = "jwks_serving_stale"
        else:
            age = "jwks_keys_expired"
            self._observer.holds_none(self._issuer)
        if age and age != self._age:
            seconds = max(0, int(held.usable_until - now)) if held else 0
            log.warning(Event(age, issuer=self._issuer, seconds_left=seconds))
        self._age = age

    def unknown_key(self) -> None:
        """A token names a key that is not held. Needs no lock."""
        self._observer.unknown_key(self._issuer)

    def cooling_down(self, first: bool) -> None:
        """An unknown key id causes no fetch, those of the window are spent; it is the ``first`` to find that."""
        self._observer.cooling_down(self._issuer)
        if first:
            log.info(Event("jwks_cooldown", issuer=self._issuer))

    def broke(self) -> None:
        """A fetch ended in a mistake of this application's."""
        log.exception(Event("jwks_fetch_broke", issuer=self._issuer))


RANDOM = random.SystemRandom()
"""Not the process's generator: that one is for the application to seed, and to expect unchanged."""
HOLDING_STILL = 1.0
"""Seconds that a fork waits for a fetch."""
NOBODY = KeyObserver()
GRACE = 1.0
"""Seconds past its deadline after which a fetch counts as lost."""


class RemoteKeySet:
    """The keys of one issuer. A key that is held is found without a lock and without the network.

    ``fetch`` takes the ``ETag`` held and, for an unknown key id, what tells whether a key set answers for it; it
    returns a ``Document`` or raises ``FetchFailed``, or ``Deferred``. ``allowed`` are algorithms.
    ``clock`` is in seconds, from any start; ``spread`` returns a number between its two arguments, so that many
    processes do not move in step. ``on_change`` is called where the time of the next fetch may have moved.
    """

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[str | None, Callable[[KeySet], bool] | None], Document],
        allowed: frozenset[str],
        policy: Policy,
        waiting_room: WaitingRoom,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[float, float], float] = RANDOM.uniform,
        observer: KeyObserver = NOBODY,
    ) -> None:
        self.issuer, self._fetch, self._allowed, self._policy = issuer, fetch, allowed, policy
        self._waiting_room, self._clock, self._spread = waiting_room, clock, spread
        self._held: Held | None = None  # replaced whole, read without the lock
        self._journal = Journal(issuer, observer)
        self.on_change: Callable[[], None] = lambda: None
        self.restart()

    def restart(self) -> None:
        """Forget whatever was under way: for a process that was forked in the middle of it."""
        self._lock = threading.Lock()  # guards the two below; never held over a fetch
        self._under_way: Flight | None = None
        self._schedule = Schedule(self._policy, self._clock(), self._spread)

    def hold_still(self) -> None:
        """Let what is under way end, and nothing begin, until ``go_on``: for a process that is about to be forked.

        It waits for a second at the most: then the fetch waits for its issuer, and holds nothing that others need.
        """
        under_way = self._under_way
        if under_way is not None:
            under_way.wait(HOLDING_STILL)
        self._lock.acquire()

    def go_on(self) -> None:
        """After ``hold_still``, in the process that was forked from."""
        self._lock.release()

    def held(self) -> Held | None:
        """Return the keys that may serve now, fresh or stale; ``None`` where there are none."""
        held = self._held
        return held if held is not None and self._clock() < held.usable_until else None

    def generation(self) -> int | None:
        """Return the generation of the keys that may serve now; ``None`` where there are none."""
        held = self.held()
        return held.generation if held else None

    def age(self) -> float | None:
        """Return how many seconds ago the keys that may serve now were fetched; ``None`` where there are none."""
        held = self.held()
        return self._clock() - held.fetched_at if held else None

    def is_fresh(self) -> bool:
        """Whether keys are held that are not past their TTL."""
        held = self._held
        return held is not None and self._clock() < held.fresh_until

    def failing(self) -> bool:
        """Whether the last fetch failed."""
        return self._schedule.last_failed

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
                self._journal.unknown_key()
            fetch, begun_here = self._fetch_for(held, lambda key_set: key_set.answers(kid, algorithm))
            if fetch is None:
                return None
            self._wait_for(fetch)
            if begun_here:
                break
        held = self.held()
        if held is None:
            with self._lock:
                raise self._unavailable(self._clock(), holding=False)
        return held.key_set.find(kid, algorithm)

    def _fetch_for(self, held: Held | None, answers: Callable[[KeySet], bool]) -> tuple[Flight | None, bool]:
        """Return the fetch to wait for, and whether it begins here; no fetch where asking again would be no use."""
        with self._lock:
            now, schedule = self._clock(), self._schedule
            self._give_up_on_lost(now)
            if self._under_way is not None:
                return self._under_way, False
            if held is None:
                if schedule.allows(now):
                    return self._begin(now), True
                raise self._unavailable(now, holding=False)
            if schedule.allows_for_unknown(now):
                return self._begin(now, answers), True
            first = schedule.want_for_unknown()
            self._journal.cooling_down(first)
            if first:
                self.on_change()
            if schedule.last_failed:
                raise self._unavailable(now, holding=True)
            return None, False

    def _wait_for(self, fetch: Flight) -> None:
        with self._waiting_room.seat() as seated:
            left = fetch.begun + self._policy.timeout - self._clock()
            if seated and fetch.wait(max(0.0, left)) and not fetch.failed:
                return
        with self._lock:
            raise self._unavailable(self._clock(), holding=self.held() is not None)

    def _unavailable(self, now: float, holding: bool) -> KeysUnavailable:
        """The lock is held."""
        under_way = self._under_way
        retry_at = under_way.begun + self._policy.timeout if under_way else self._schedule.retry_at(holding)
        return KeysUnavailable(self.issuer, retry_at - now)

    def until_due(self) -> float:
        """Seconds until there is something to do: the next scheduled fetch, or the end of a lost one."""
        with self._lock:
            under_way = self._under_way
            due = under_way.begun + self._policy.timeout + GRACE if under_way else self._schedule.next_due()
            return max(0.0, due - self._clock())

    def refresh_if_due(self) -> None:
        """Begin the scheduled fetch where its time has come. Returns at once."""
        with self._lock:
            now = self._clock()
            self._give_up_on_lost(now)
            if self._under_way is not None:
                return
            if self._schedule.due(now):
                self._begin(now)
            elif self._schedule.due_for_unknown(now):
                self._begin(now, lambda key_set: False)  # made up for: whose key id it was is not known any more

    def _begin(self, now: float, answers: Callable[[KeySet], bool] | None = None) -> Flight:
        """Begin a fetch in a thread of its own. The lock is held."""
        fetch = Flight(now, answers)
        threading.Thread(target=self._run, args=(fetch,), name="jwks-fetch", daemon=True).start()
        self._under_way = fetch
        self._schedule.begun(now, for_unknown=answers is not None)
        return fetch

    def _give_up_on_lost(self, now: float) -> None:
        """Count a fetch as failed that should have ended: one that hangs in the resolver, say. The lock is held."""
        fetch = self._under_way
        if fetch is not None and now >= fetch.begun + self._policy.timeout + GRACE:
            self._under_way = None
            self._settle_failure(fetch, "no whole answer before the deadline")
            fetch.finish(failed=True)

    def _run(self, fetch: Flight) -> None:
        answer, failure, outcome = None, "the fetch broke", "failed"
        held, began = self._held, time.perf_counter()
        try:
            document = self._fetch(held.etag if held else None, fetch.answers)
            answer = renewed(held, document, self._allowed, self._policy, self._clock())
            outcome = "shared" if document.age else "ok"
        except (FetchFailed, BadKeySet) as error:
            failure = str(error)
        except Deferred:
            outcome = "deferred"
        except Exception:
            self._journal.broke()
        with self._lock:
            if self._under_way is not fetch:
                return  # given up on
            self._under_way = None
            self._journal.fetched(outcome, time.perf_counter() - began)
            if outcome == "deferred":
                self._schedule.want_for_unknown()
            elif answer is None:
                self._settle_failure(fetch, failure)
            else:
                self._settle_success(held, answer)
        fetch.finish(failed=outcome == "failed")
        self.on_change()

    def _settle_success(self, before: Held | None, answer: Held) -> None:
        """Take over a good answer. The lock is held."""
        self._journal.answered(before, answer, self._schedule.last_failed, self._clock())
        self._held = answer
        self._schedule.succeeded(answer.fetched_at, answer.fresh_until - answer.fetched_at)

    def _settle_failure(self, fetch: Flight, why: str) -> None:
        """Take over that there is no answer. The lock is held."""
        now, held = self._clock(), self._held
        self._journal.failed(why, held, now, self._schedule.last_failed)
        fresh = held is not None and now < held.fresh_until
        self._schedule.failed(now, back_off=fetch.answers is None or not fresh)  # strangers' kids start no back-off


LONGEST_PAUSE = 3600.0
"""Seconds after which the thread looks around, even where nothing is due."""


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
        """``ok`` where every issuer has fresh keys and answers, ``degraded`` where one does not, ``unavailable``
        where none has keys that may serve.
        """
        held = [key_set.held() for key_set in self.values()]
        if not any(held):
            return "unavailable"
        fine = all(held) and not any(key_set.failing() for key_set in self.values())
        return "ok" if fine else "degraded"

    def start(self) -> None:
        """Begin the first fetches, and keep the sets fresh for as long as the process lives, forked children too."""
        self._start_thread()
        # a forked child has this object, but not its threads, and for ever the locks that one of them held: a module's,
        # say, which the first fetch imports
        reference = weakref.ref(self)
        os.register_at_fork(
            before=lambda: _each(reference(), RemoteKeySet.hold_still),
            after_in_parent=lambda: _each(reference(), RemoteKeySet.go_on),
            after_in_child=lambda: _revive(reference()),
        )

    def wait_for_first_fetches(self, seconds: float) -> None:
        """Wait until each issuer has answered once, well or badly, but no longer than that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(each.held() or each.failing() for each in self.values()):
            time.sleep(0.01)

    def _start_thread(self) -> None:
        self._wake = threading.Event()
        for key_set in self.values():
            key_set.on_change = self._wake.set
        threading.Thread(target=self._keep_fresh, name="jwks-refresh", daemon=True).start()

    def _keep_fresh(self) -> None:
        while True:
            self._wake.clear()
            pause = LONGEST_PAUSE
            try:
                for key_set in self.values():
                    key_set.refresh_if_due()
                    pause = min(pause, key_set.until_due())
            except Exception:  # this thread has to outlive whatever happens: a thread that could not be started, say
                log.exception(Event("jwks_refresh_broke"))
                pause = 1.0
            self._wake.wait(pause)

    def _revive(self) -> None:
        for key_set in self.values():
            key_set.restart()
        self._start_thread()


def _each(key_sets: KeySets | None, action: Callable[[RemoteKeySet], None]) -> None:
    for key_set in key_sets.values() if key_sets is not None else ():
        action(key_set)


def _revive(key_sets: KeySets | None) -> None:
    if key_sets is not None:
        key_sets._revive()
