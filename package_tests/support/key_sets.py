"""A key set under test, with its issuer and its clock."""

import threading

from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.client import Policy, RemoteKeySet
from zuplo_origin.jwks.fetch import Source

from .clock import Clock
from .issuer import Issuer, send
from .signing import Key

ES256 = "ES256"


class KeySetHarness:
    """A `RemoteKeySet` with a real issuer, and a clock that a test sets."""

    def __init__(self, waiters: int = 64, **policy: float) -> None:
        self.issuer = Issuer([Key(ES256, "one")])
        self.clock = Clock()
        self.policy = Policy(**{"timeout": 20} | policy)
        source = Source(self.issuer.name, self.issuer.jwks_url, self.policy.timeout, 262144)
        self.keys = RemoteKeySet(
            self.issuer.name,
            source.fetch,
            frozenset(ALGORITHMS),
            self.policy,
            threading.BoundedSemaphore(waiters),
            self.clock,
            lambda low, high: (low + high) / 2,
        )

    def wait_for_fetch(self) -> None:
        """Wait for the end of the in-flight fetch, if there is one."""
        fetch = self.keys._in_flight
        if fetch is not None:
            fetch.succeeded.result(60)

    def waiting(self) -> int:
        """Return how many threads wait for the in-flight fetch."""
        fetch = self.keys._in_flight
        return len(fetch.succeeded._waiters) if fetch is not None else 0

    def tick(self) -> None:
        """Do what the background thread does when it wakes up, and wait for the fetch."""
        self.keys.refresh_if_due()
        self.wait_for_fetch()

    def finds(self, kid: str = "one") -> bool:
        return bool(self.keys.find(kid, ES256))

    @property
    def fetches(self) -> int:
        return len(self.issuer.requests)

    def fail(self, status: int = 500) -> None:
        self.issuer.behave = lambda handler: send(handler, status, b"")

    def recover(self) -> None:
        self.issuer.behave = None
