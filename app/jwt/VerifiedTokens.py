"""Tokens that were verified before, so that their signatures need not be checked again."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TLRUCache

from .parsing import MAX_LENGTH

MAX_PAYLOAD = 2048
"""Bytes of a token's claims; larger ones are not kept. With the count, this bounds the memory: 2.5 KiB for each."""


@dataclass(frozen=True)
class Verified:
    """What is kept of a token that passed: its claims as they were signed, so that each request gets its own.

    ``generation`` is that of the issuer's keys when it was checked, ``expires`` the token's own ``exp``.
    """

    issuer: str
    generation: int
    payload: bytes
    expires: float


class VerifiedTokens:
    """At most ``size`` tokens that passed every rule, each until its own ``exp``; ``size`` 0 keeps none.

    A token is known by its SHA-256 digest: another spelling of it is another token. It is kept when it comes a second
    time: where a gateway mints a token for each request, none does, and looking costs next to nothing. ``clock`` gives
    seconds since the epoch.
    """

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._came_before: list[bytes | None] = [None] * (2 * size)  # by digest; a newcomer takes another's place
        self._lock = threading.Lock()  # guards the cache, which is changed by reading too
        self._cache: TLRUCache[bytes, Verified] = TLRUCache(size, ttu=lambda key, kept, now: kept.expires, timer=clock)

    def digest(self, text: str) -> bytes | None:
        """Return the key for the token ``text``; ``None`` where it is not kept in any case."""
        if not self._came_before or len(text) > MAX_LENGTH:
            return None
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def get(self, digest: bytes) -> Verified | None:
        """Return what is kept under ``digest``."""
        if self._came_before[self._place(digest)] != digest:
            return None
        with self._lock:
            return self._cache.get(digest)

    def put(self, digest: bytes, verified: Verified) -> None:
        """Keep a token that passed, where it did so before."""
        place = self._place(digest)
        if self._came_before[place] != digest:
            self._came_before[place] = digest
        elif len(verified.payload) <= MAX_PAYLOAD:
            with self._lock:
                self._cache[digest] = verified

    def _place(self, digest: bytes) -> int:
        return int.from_bytes(digest[:8], "big") % len(self._came_before)
