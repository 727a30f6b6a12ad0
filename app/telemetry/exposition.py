"""What is counted, as Prometheus reads it."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from app.telemetry import COUNTING_FOLDER

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
