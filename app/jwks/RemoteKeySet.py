"""The keys of one issuer, held and renewed: when to fetch, who waits for it, and for how long."""

import random
import threading
import time
from collections.abc import Callable

from .fetch import Deferred, Document, FetchFailed
from .Flight import Flight
from .Held import Held, renewed
from .Journal import Journal
from .keys import Verifier
from .KeySet import BadKeySet, KeySet
from .KeysUnavailable import KeysUnavailable
from .Observer import Observer
from .Schedule import Policy, Schedule
from .WaitingRoom import WaitingRoom

RANDOM = random.SystemRandom()
"""Not the process's generator: that one is for the application to seed, and to expect unchanged."""
HOLDING_STILL = 1.0
"""Seconds that a fork waits for a fetch."""
NOBODY = Observer()
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
        observer: Observer = NOBODY,
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
