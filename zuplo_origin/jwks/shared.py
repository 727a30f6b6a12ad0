"""A key set that many processes share through a store, so that one process fetches it for all."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData, Serializer

from zuplo_origin.observability.logs import Event

from .client import FETCHES_PER_WINDOW, REFRESH_AT, Policy
from .failures import BadKeySet, Cause, Failure, FetchFailed
from .fetch import Deferred, Document, Source
from .keys import KeySet, WantedKey, parse_key_set
from .stores import BoundedStore, StoreDown

log = logging.getLogger("zuplo_origin.jwks")

POLL_INTERVAL = 0.1
"""Seconds between two reads of the store while another process fetches."""
FAILURE_LIFETIME = 0.75
"""Seconds after a failed fetch in which no other process fetches."""
MAX_SKEW = 60.0
"""Seconds by which the clock of another machine may be ahead."""
_SLOTS = tuple(f"unknown-{number}" for number in range(FETCHES_PER_WINDOW))
"""Names of the claims on a fetch for unknown or replaced keys, of all processes together."""


@dataclass(frozen=True)
class SharedKeySet:
    """A key set in the store. ``number`` grows with each fetch: the clocks of machines differ.

    ``fetched_at`` is in seconds since the epoch, ``max_age`` in seconds; ``url`` is where the ``body`` came from.
    """

    number: int
    fetched_at: float
    body: bytes
    url: str
    max_age: int | None
    key_set: KeySet


@dataclass(frozen=True)
class SharedState:
    """Times of the key set in the store, in seconds since the epoch, for people.

    At ``refresh_due``, give or take a tenth of a refresh's period, a process will refresh it. ``first_seen`` has the
    ``identity`` of each usable key: since when the store has had it without a break.
    """

    fetched_at: float
    refresh_due: float
    first_seen: Mapping[str, float]


class SharedKeys:
    """The key set of ``source``, shared through ``store`` with every process that has the same secret ``key``.

    ``allowed`` are algorithms; ``clock`` is in seconds since the epoch. Only one thread uses it at a time: the one that
    fetches.
    """

    def __init__(
        self,
        source: Source,
        allowed: frozenset[str],
        policy: Policy,
        store: BoundedStore,
        key: bytes,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source, self._allowed, self._policy = source, allowed, policy
        self._store, self._key, self._clock, self._sleep = store, key, clock, sleep
        self._longest = 2 * source.max_bytes + 4096  # JSON escapes double a body at most
        self._prefix = hashlib.sha256(f"{source.issuer}\0{source.url}".encode()).hexdigest()[:32]
        self._last_read: tuple[bytes, SharedKeySet | None] = (b"", None)
        self._returned: SharedKeySet | None = None
        self._largest_number = 0
        self._fetch_alone = False

    def fetch(self, wanted: WantedKey | None = None) -> Document:
        """Return a key set that is newer than the last one returned: the stored one, or else the issuer's.

        ``wanted`` is the unknown or replaced key that caused the fetch, if one did. Raises ``Failure``, and
        ``Deferred`` if the cooldown of all processes together allows no fetch. While the store is down, each process
        fetches for itself.
        """
        try:
            shared = self._wait_for_key_set_or_turn(wanted)
        except StoreDown:
            shared = None
        age = max(0.0, self._clock() - shared.fetched_at) if shared else 0.0
        deferred_for = 0.0 if shared is None or self._is_useful(shared, wanted) else self._until_fetch_for_wanted()
        self._returned = shared = shared or self._fetch_and_share()
        return Document(shared.body, shared.url, shared.max_age, age, shared.key_set, deferred_for)

    def state(self) -> SharedState | None:
        """Return the times of the key set in the store; ``None`` if there is none. Raises ``StoreDown``."""
        shared = self._stored()
        if shared is None:
            return None
        due = shared.fetched_at + REFRESH_AT * self._policy.fresh_for(shared.max_age)
        return SharedState(shared.fetched_at, due, (self._current("seen") or {}).get("first", {}))

    def _wait_for_key_set_or_turn(self, wanted: WantedKey | None) -> SharedKeySet | None:
        """Return a newer key set, or ``None`` if it is this process's turn to fetch.

        A broken store must not keep a process from fetching. After waiting in vain, or if the stored key set is gone,
        the process fetches alone, as often as it may without a store.
        """
        if self._fetch_alone:
            self._fetch_alone = False
            return None
        for _ in range(max(1, int(self._policy.timeout / POLL_INTERVAL))):
            shared = self._stored()
            if self._is_useful(shared, wanted):
                return shared
            failed = self._current("failed")
            if failed and failed["after"] >= self._largest_number:  # not one of before a fetch that succeeded
                left = max(0.0, failed["until"] - self._clock())
                raise FetchFailed(Cause(failed["cause"]), failed["why"], left if failed["asked"] else None)
            if shared is None and self._returned is not None:
                return None
            if self._claim("turn", self._policy.timeout + 1):
                return self._take_turn(wanted)
            self._sleep(POLL_INTERVAL)
        self._fetch_alone = True
        raise FetchFailed(Cause.OTHER_PROCESS, "another process is fetching, and has no response yet (JWKS_STORE)")

    def _take_turn(self, wanted: WantedKey | None) -> SharedKeySet | None:
        shared = self._stored()  # again: the turn of another process may have ended just before
        if not self._is_useful(shared, wanted):
            if wanted is None or self._claim_fetch_for_wanted(shared):
                return None
            if shared is None or not self._is_newer(shared):
                self._end_turn()
                raise Deferred(self._until_fetch_for_wanted())
        self._end_turn()
        return shared

    def _fetch_and_share(self) -> SharedKeySet:
        try:
            document = self._source.fetch()
            key_set = parse_key_set(document.body, self._allowed, document.url)
        except Failure as failure:
            asked = getattr(failure, "retry_after", None)
            seconds = max(FAILURE_LIFETIME, min(asked or 0.0, self._policy.max_stale))
            content: dict[str, object] = {
                "until": self._clock() + seconds,
                "after": self._largest_number,
                "asked": bool(asked),
            }
            content |= {"cause": failure.cause.value, "why": str(failure)}
            self._put("failed", self._sign("failed", content), 10 * seconds)
            self._end_turn()
            raise
        self._largest_number += 1
        now, body = self._clock(), document.body
        shared = SharedKeySet(self._largest_number, now, body, document.url, document.max_age, key_set)
        kept = {"number": shared.number, "fetched_at": now, "body": body.decode()}
        value = self._sign("keys", kept | {"url": shared.url, "max_age": shared.max_age})
        self._put("keys", value, self._lifetime(shared))
        self._note_first_seen(shared)
        self._last_read = value, shared
        self._end_turn()
        return shared

    def _note_first_seen(self, shared: SharedKeySet) -> None:
        """Store since when each key has been published. It is for people: no decision depends on it."""
        with suppress(StoreDown):
            before = (self._current("seen") or {}).get("first", {})
            first = {key.identity: before.get(key.identity, shared.fetched_at) for key in shared.key_set.keys}
            seconds = self._lifetime(shared)
            self._put("seen", self._sign("seen", {"until": shared.fetched_at + seconds, "first": first}), seconds)

    def _is_newer(self, shared: SharedKeySet) -> bool:
        return self._returned is None or shared.number > self._returned.number

    def _is_useful(self, shared: SharedKeySet | None, wanted: WantedKey | None) -> bool:
        """Return whether ``shared`` is newer than the last key set, and may have the key that is ``wanted``."""
        if shared is None or not self._is_newer(shared):
            return False
        if wanted is None or self._returned is None:
            return True
        if wanted.is_replaced:
            return shared.body != self._returned.body
        return shared.key_set.knows(wanted.kid, wanted.algorithm)

    def _stored(self) -> SharedKeySet | None:
        """Return the key set in the store, if its signature is valid and its lifetime is not over."""
        value = self._store.get(f"{self._prefix}-keys", self._longest)
        if value is None:
            return None
        if value != self._last_read[0]:
            self._last_read = value, self._parse(value)
        shared = self._last_read[1]
        return shared if shared and self._clock() - shared.fetched_at < self._lifetime(shared) else None

    def _parse(self, value: bytes) -> SharedKeySet | None:
        """Return the key set in ``value``; log why, and return ``None``, if it is not acceptable."""
        try:
            content = self._signer("keys").loads(value)
            body = content.pop("body").encode()
            key_set = parse_key_set(body, self._allowed, content["url"])
            shared = SharedKeySet(**content, body=body, key_set=key_set)
            if shared.fetched_at > self._clock() + MAX_SKEW:
                raise BadKeySet(Cause.OTHER_PROCESS, "it was fetched in the future: check the clocks of the machines")
        except (BadData, BadKeySet) as error:
            why = "it was not signed with this APP_KEY" if isinstance(error, BadData) else str(error)
            log.warning(Event("jwks_store_entry_rejected", issuer=self._source.issuer, why=why))
            return None
        self._largest_number = max(self._largest_number, shared.number)
        return shared

    def _lifetime(self, shared: SharedKeySet) -> float:
        return self._policy.fresh_for(shared.max_age) + self._policy.max_stale

    def _claim_fetch_for_wanted(self, shared: SharedKeySet | None) -> bool:
        """Claim one of the fetches for unknown or replaced keys in this cooldown window, of all processes together.

        Also return ``True`` if the store has lost the key set that a claimed fetch returned.
        """
        if any(self._claim(slot, self._policy.cooldown) for slot in _SLOTS):
            return True
        after = max((content["after"] for slot in _SLOTS if (content := self._current(slot))), default=0)
        return shared is None or shared.number <= after

    def _until_fetch_for_wanted(self) -> float:
        """Return the seconds until the first of the claims in this cooldown window ends."""
        with suppress(StoreDown):
            ends = [content["until"] for slot in _SLOTS if (content := self._current(slot))]
            return max(0.0, min(ends, default=0.0) - self._clock())
        return 0.0

    def _claim(self, what: str, seconds: float) -> bool:
        """Claim ``what`` for ``seconds`` unless another process has. An existing claim without signature is ignored."""
        content = {"until": self._clock() + seconds, "after": self._largest_number}
        value = self._sign(what, content)
        return self._store.add(f"{self._prefix}-{what}", value, seconds) or self._current(what) is None

    def _current(self, what: str) -> dict[str, Any] | None:
        """Return the signed content of a claim or failure, if its time is not over."""
        value = self._store.get(f"{self._prefix}-{what}", self._longest)
        try:
            content: dict[str, Any] | None = self._signer(what).loads(value) if value is not None else None
        except BadData:
            return None
        return content if content and self._clock() < content["until"] else None

    def _end_turn(self) -> None:
        with suppress(StoreDown):
            self._store.delete(f"{self._prefix}-turn")

    def _put(self, what: str, value: bytes, seconds: float) -> None:
        with suppress(StoreDown):
            self._store.put(f"{self._prefix}-{what}", value, seconds)

    def _sign(self, what: str, content: Mapping[str, object]) -> bytes:
        return self._signer(what).dumps(content).encode()

    def _signer(self, what: str) -> Serializer[str]:
        """Return the signer of the JSON value under one name: HMAC with SHA-256.

        A value that was signed for one name is not valid under another. An old value stays valid: check its time.
        """
        options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return Serializer(
            self._key, salt=f"zuplo-origin shared key set 2: {self._prefix}-{what}", signer_kwargs=options
        )
