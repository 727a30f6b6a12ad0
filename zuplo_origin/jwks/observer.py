"""The observer of key sets. In a file of its own, so that metrics do not import what fetches keys."""


class KeyObserver:
    """Base class of observers of key sets. It does nothing. Times are in seconds since the epoch."""

    def begins(self, issuer: str) -> None:
        """The client begins to cache the keys of ``issuer``; it has none yet."""

    def fetched(self, issuer: str, outcome: str, seconds: float) -> None:
        """A fetch has ended: ``ok``, ``failed``, ``shared`` (by another process) or ``deferred`` (not made)."""

    def holds(self, issuer: str, keys: int, fetched_at: float, fresh_until: float) -> None:
        """A key set with that many usable keys is cached from now on."""

    def holds_none(self, issuer: str) -> None:
        """No cached keys are left that may serve."""

    def unknown_key(self, issuer: str) -> None:
        """A token named a key that is not cached."""

    def cooling_down(self, issuer: str) -> None:
        """It caused no fetch, because of the cooldown."""
