"""What the log is told of one issuer's keys: each change once, and not once a request."""

import logging

from app.encoding.printable import printable
from app.log.Event import Event

from .Held import Held

log = logging.getLogger("app.jwks")


class Journal:
    """The lines of one ``issuer``, an event and its fields each. Whoever writes them holds the key set's lock."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._age = ""

    def answered(self, before: Held | None, answer: Held, after_failure: bool) -> None:
        """A good answer came: the end of an outage, first keys, a rotation, keys that are refused."""
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
        if age and age != self._age:
            seconds = max(0, int(held.usable_until - now)) if held else 0
            log.warning(Event(age, issuer=self._issuer, seconds_left=seconds))
        self._age = age

    def cooling_down(self) -> None:
        """Unknown key ids have spent the fetches of a window."""
        log.info(Event("jwks_cooldown", issuer=self._issuer))

    def broke(self) -> None:
        """A fetch ended in a mistake of this application's."""
        log.exception(Event("jwks_fetch_broke", issuer=self._issuer))
