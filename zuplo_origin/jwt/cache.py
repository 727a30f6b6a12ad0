"""A cache of verified tokens, so that their signatures are not checked again."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TLRUCache

MAX_CLAIMS = 2048
"""Bytes of a cached token's claims. Larger ones are not cached, so that an entry takes 2.5 KiB of memory at most."""


@dataclass(frozen=True)
class Verified:
    """A verified token. ``claims`` are serialized, so that each request gets its own copy.

    ``generation`` is that of the issuer's key set when the token was verified. ``expires`` is the token's ``exp``.
    """

    issuer: str
    generation: int
    claims: bytes
    expires: float


class VerifiedTokens:
    """A cache of at most ``size`` verified tokens, each until its ``exp``. ``clock`` is in seconds since the epoch.

    The key is the SHA-256 digest of the whole token. A token is cached when it is verified for the second time: if a
    gateway creates a token for each request, none is, and a lookup costs no more than comparing a hash.
    """

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._slots = 2 * size
        self._seen: list[int | None] = [None] * self._slots  # hashes of tokens; a later token replaces an earlier one
        self._lock = threading.Lock()  # guards the cache, which changes when it is read, too
        self._cache: TLRUCache[bytes, Verified] = TLRUCache(
            size, ttu=lambda key, entry, now: entry.expires, timer=clock
        )

    def get(self, text: str) -> Verified | None:
        """Return the cached entry of the token ``text``."""
        if not self._slots or self._seen[hash(text) % self._slots] != hash(text):
            return None
        digest = _digest(text)
        with self._lock:
            try:
                return self._cache[digest]
            except KeyError:
                return None

    def is_repeated(self, text: str) -> bool:
        """Return whether the token ``text`` was verified before and should be cached. Note that it was verified."""
        if not self._slots:
            return False
        slot = hash(text) % self._slots
        if self._seen[slot] == hash(text):
            return True
        self._seen[slot] = hash(text)
        return False

    def put(self, text: str, verified: Verified) -> None:
        """Cache the token ``text``, unless its claims are too large."""
        if len(verified.claims) <= MAX_CLAIMS:
            digest = _digest(text)
            with self._lock:
                self._cache[digest] = verified


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
