"""Who is told what becomes of tokens."""

from typing import Protocol


class Observer(Protocol):
    """Is told of tokens that are let in."""

    def verified(self, algorithm: str, seconds: float) -> None:
        """A token was verified, which took that long."""

    def looked_up(self, hit: bool) -> None:
        """A token was looked for among those that were verified before."""
