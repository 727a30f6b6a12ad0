"""What the log and the metrics are told of one issuer's keys; the log, each change once, and not once a request."""

import logging
import time

from app.encoding.printable import printable
from app.log.Event import Event

from .Held import Held
from .Observer import Observer

log = logging.getLogger("app.jwks")


class Journal:
    """The lines of one ``issuer``, an event and its fields each. Whoever writes them holds the key set's lock."""

    def __init__(self, issuer: str, observer: Observer) -> None:
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
