"""Prometheus metrics: counters, and their exposition."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from zuplo_origin.jwks.observer import KeyObserver
from zuplo_origin.jwt.reasons import Reason

from . import COUNTING_FOLDER
from .events import method_of, route_of

_VERIFICATION = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1, 10)
_FETCH = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics(KeyObserver):
    """Bound to the container as ``metrics``: told of each request, token and fetch, it counts them.

    Its labels are routes, methods, statuses, reasons, algorithms and configured issuers: no client chooses one.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("http_requests", "Requests answered.", "method", "route", "status")
        self._requests_seen: dict[tuple[str, str, int], Counter] = {}
        refusals = self._counter("jwt_refusals", "Requests that were not let in.", "reason")
        self._refusals = {reason: refusals.labels(reason.value) for reason in Reason}
        self._verification = self._histogram(
            "jwt_verification_seconds",
            "Time to verify a token that was let in, a wait for its key included.",
            "algorithm",
            _VERIFICATION,
        )
        cache = self._counter("jwt_cache", "Looks into the cache of verified tokens.", "outcome")
        self._cache = {True: cache.labels("hit"), False: cache.labels("miss")}
        self._fetches = self._counter("jwks_fetches", "Fetches of key sets.", "issuer", "outcome")
        self._fetch_time = self._histogram("jwks_fetch_seconds", "Time of a fetch.", "issuer", _FETCH)
        self._unknown = self._counter("jwks_unknown_keys", "Tokens with a key id that was not held.", "issuer")
        self._cooldown = self._counter("jwks_cooldown_hits", "Fetches for unknown key ids, not made.", "issuer")
        self._keys = self._gauge("jwks_keys", "Keys held that are usable.")
        self._fetched = self._gauge("jwks_fetched_timestamp_seconds", "When the keys held were fetched.")
        self._fresh = self._gauge("jwks_fresh_until_timestamp_seconds", "Until when they are fresh.")

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(name, told, labels, registry=self.registry)

    def _histogram(self, name: str, told: str, label: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, told, [label], buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, told: str) -> Gauge:
        """Of processes that hold different things, the one that is worst off; of those that are gone, nothing."""
        return Gauge(name, told, ["issuer"], multiprocess_mode="livemin", registry=self.registry)

    def __call__(self, request: Any, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        seen = (method_of(request), route_of(request), status)
        counter = self._requests_seen.get(seen)
        if counter is None:
            counter = self._requests_seen[seen] = self._requests.labels(*map(str, seen))
        counter.inc()
        if request.rejected is not None:
            self._refusals[request.rejected.reason].inc()

    def verified(self, algorithm: str, seconds: float) -> None:
        self._verification.labels(algorithm).observe(seconds)

    def looked_up(self, hit: bool) -> None:
        self._cache[hit].inc()

    def begins(self, issuer: str) -> None:
        for counter in (self._unknown, self._cooldown):
            counter.labels(issuer)  # from zero on: a rate needs two values
        for outcome in ("ok", "failed"):
            self._fetches.labels(issuer, outcome)
        self.holds_none(issuer)

    def fetched(self, issuer: str, outcome: str, seconds: float) -> None:
        self._fetches.labels(issuer, outcome).inc()
        self._fetch_time.labels(issuer).observe(seconds)

    def holds(self, issuer: str, keys: int, fetched_at: float, fresh_until: float) -> None:
        self._keys.labels(issuer).set(keys)
        self._fetched.labels(issuer).set(fetched_at)
        self._fresh.labels(issuer).set(fresh_until)

    def holds_none(self, issuer: str) -> None:
        self._keys.labels(issuer).set(0)

    def unknown_key(self, issuer: str) -> None:
        self._unknown.labels(issuer).inc()

    def cooling_down(self, issuer: str) -> None:
        self._cooldown.labels(issuer).inc()


PATH = "/metrics"


def exposition(own: CollectorRegistry | None = None) -> tuple[bytes, str]:
    """Return the text and its media type: of all processes that count together, or else of this one, ``own``."""
    registry = CollectorRegistry()
    if COUNTING_FOLDER in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    elif own is not None:
        registry = own
    told = CollectorRegistry()
    told.register(_WithAges(registry))
    return generate_latest(told), CONTENT_TYPE_LATEST


class _WithAges:
    """What ``registry`` has, and how old the oldest keys are now."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Any]:
        now = time.time()
        age = GaugeMetricFamily("jwks_age_seconds", "Seconds since the keys held were fetched.", labels=["issuer"])
        stale = GaugeMetricFamily("jwks_stale_seconds", "Seconds since they are no longer fresh.", labels=["issuer"])
        since = {"jwks_fetched_timestamp_seconds": age, "jwks_fresh_until_timestamp_seconds": stale}
        for metric in self._registry.collect():
            yield metric
            for sample in metric.samples:
                if sample.name in since:
                    since[sample.name].add_metric([sample.labels["issuer"]], max(0.0, now - sample.value))
        yield from since.values()


def page(own: CollectorRegistry | None = None) -> Callable[[], tuple[int, bytes, str]]:
    """Return the page ``/metrics`` for a port of its own."""
    return lambda: (200, *exposition(own))
