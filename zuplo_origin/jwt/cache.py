"""Tokens that were verified before, so that their signatures need not be checked again."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TLRUCache

MAX_CLAIMS = 2048
"""Bytes of a token's claims; larger ones are not kept. With the count, this bounds the memory: 2.5 KiB for each."""


@dataclass(frozen=True)
class Verified:
    """What is kept of a token that passed: its claims in a form of which each request gets a copy of its own.

    ``generation`` is that of the issuer's keys when it was checked, ``expires`` the token's own ``exp``.
    """

    issuer: str
    generation: int
    claims: bytes
    expires: float


class VerifiedTokens:
    """At most ``size`` tokens that passed every rule, each until its own ``exp``; ``size`` 0 keeps none.

    A token is known by its SHA-256 digest: another spelling of it is another token. It is kept when it comes a second
    time: where a gateway mints a token for each request, none does, and a look at its hash says so. ``clock`` gives
    seconds since the epoch.
    """

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._places = 2 * size
        self._came_before: list[int | None] = [None] * self._places  # hashes; a newcomer takes another's place
        self._lock = threading.Lock()  # guards the cache, which is changed by reading too
        self._cache: TLRUCache[bytes, Verified] = TLRUCache(size, ttu=lambda key, kept, now: kept.expires, timer=clock)

    def get(self, text: str) -> Verified | None:
        """Return what is kept of the token ``text``."""
        if not self._places or self._came_before[hash(text) % self._places] != hash(text):
            return None
        digest = _digest(text)
        with self._lock:
            try:
                return self._cache[digest]
            except KeyError:
                return None

    def comes_again(self, text: str) -> bool:
        """Whether the token ``text``, which passed just now, did so before, and is to be kept."""
        if not self._places:
            return False
        place = hash(text) % self._places
        if self._came_before[place] == hash(text):
            return True
        self._came_before[place] = hash(text)
        return False

    def put(self, text: str, verified: Verified) -> None:
        """Keep the token ``text``."""
        if len(verified.claims) <= MAX_CLAIMS:
            digest = _digest(text)
            with self._lock:
                self._cache[digest] = verified


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
