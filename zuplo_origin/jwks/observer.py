"""The observer of key sets. In a module of its own, so that metrics do not import the HTTP client."""

from typing import Protocol


class KeyObserver(Protocol):
    """An observer of key sets. Times are in seconds since the epoch."""

    def begins(self, issuer: str) -> None:
        """Note that the keys of ``issuer`` will be cached; there are none yet."""

    def fetched(self, issuer: str, outcome: str, seconds: float) -> None:
        """Note the end of a fetch: ``ok``, ``failed``, ``shared`` (by another process) or ``deferred`` (not made)."""

    def holds(self, issuer: str, keys: int, fetched_at: float, fresh_until: float) -> None:
        """Note that a key set with this number of usable keys is cached."""

    def holds_none(self, issuer: str) -> None:
        """Note that no usable keys are cached any more."""

    def unknown_key(self, issuer: str) -> None:
        """Note that a token named a key that is not cached."""

    def cooling_down(self, issuer: str) -> None:
        """Note that an unknown key caused no fetch, because of the cooldown."""
