"""Who is told what becomes of an issuer's keys."""


class Observer:
    """Is told, and does nothing: the base of those that count. Times are in seconds since the epoch."""

    def begins(self, issuer: str) -> None:
        """Its keys are to be held; none are so far."""

    def fetched(self, issuer: str, outcome: str, seconds: float) -> None:
        """A fetch is over: ``ok``, ``failed``, ``shared`` (another process had made it) or ``deferred`` (not made)."""

    def holds(self, issuer: str, keys: int, fetched_at: float, fresh_until: float) -> None:
        """That many usable keys are held from now on."""

    def holds_none(self, issuer: str) -> None:
        """None are held that may serve."""

    def unknown_key(self, issuer: str) -> None:
        """A token names a key that is not held."""

    def cooling_down(self, issuer: str) -> None:
        """It caused no fetch: others have caused enough."""
