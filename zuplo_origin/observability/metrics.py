"""Prometheus metrics, and their exposition."""

import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from zuplo_origin.gateway import GatewayReason
from zuplo_origin.http.streams import Stream
from zuplo_origin.jwks.observer import KeyObserver
from zuplo_origin.jwt.reasons import Reason

from . import COUNTING_FOLDER
from .logs import LineHandler

_VERIFICATION = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1, 10)
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_JOB = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900)
_STATEMENT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_FETCH = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics(KeyObserver):
    """Bound to the container as ``metrics``. Observes requests, tokens, key sets, jobs and database statements.

    Labels are routes, methods, statuses, reasons, algorithms, configured issuers and connections: clients cannot add
    values.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter(
            "http_requests", "Responses, by method, route and status.", "method", "route", "status"
        )
        self._durations = self._histogram(
            "http_request_duration_seconds",
            "Seconds from the call of the application to the end of its response, a stream's end included.",
            _REQUEST,
            "method",
            "route",
        )
        self._by_response: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}  # labels() takes a lock
        self._in_flight = self._number(
            "http_requests_in_flight", "Requests whose response has not ended, streams included."
        )
        self._streams = self._number("http_streams_open", "Streamed responses that have not ended.")
        rejections = self._counter(
            "jwt_refusals", "Rejected requests, by reason; not_from_gateway is one without GATEWAY_SECRET.", "reason"
        )
        self._rejections = {reason: rejections.labels(reason.value) for reason in (*Reason, *GatewayReason)}
        self._jobs = self._counter(
            "queue_jobs",
            "Jobs pushed and, by async, run, by queue driver and outcome: pushed, rejected, done, failed.",
            "driver",
            "outcome",
        )
        self._job_time = self._histogram(
            "queue_job_seconds", "Seconds that a job of the driver async ran.", _JOB, "driver"
        )
        self._statements = self._histogram(
            "db_query_seconds",
            "Seconds of a database statement, by connection and kind: select, insert, update, delete, begin, commit, "
            "rollback, other.",
            _STATEMENT,
            "connection",
            "statement",
        )
        self._verification = self._histogram(
            "jwt_verification_seconds",
            "Seconds to verify an accepted token, including a wait for its key.",
            _VERIFICATION,
            "algorithm",
        )
        cache = self._counter(
            "jwt_cache", "Look-ups in the cache of verified tokens, by outcome: hit, miss.", "outcome"
        )
        self._cache = {True: cache.labels("hit"), False: cache.labels("miss")}
        self._fetches = self._counter(
            "jwks_fetches",
            "Fetches of key sets, by issuer and outcome: ok, failed, shared (from JWKS_STORE), deferred (cooldown).",
            "issuer",
            "outcome",
        )
        self._fetch_time = self._histogram(
            "jwks_fetch_seconds", "Seconds that a fetch of a key set took.", _FETCH, "issuer"
        )
        self._unknown = self._counter(
            "jwks_unknown_keys", "Tokens with a key id that is not in the cached key set.", "issuer"
        )
        self._cooldown = self._counter(
            "jwks_cooldown_hits",
            "Fetches for unknown key ids and bad signatures that the cooldown prevented.",
            "issuer",
        )
        dropped = self._counter("log_lines_dropped", "Log lines that were dropped because standard error was not read.")
        for handler in logging.getLogger().handlers:
            if isinstance(handler, LineHandler):
                handler.on_drop = dropped.inc
        self._keys = self._gauge("jwks_keys", "Usable keys in the cached key set.")
        self._fetched = self._gauge("jwks_fetched_timestamp_seconds", "Time when the cached key set was fetched.")
        self._fresh = self._gauge("jwks_fresh_until_timestamp_seconds", "Time until which the cached key set is fresh.")

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(name, help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, help, labels, buckets=buckets, registry=self.registry)

    def _number(self, name: str, help: str) -> Gauge:
        """Return a gauge whose value over several processes is the sum over those that are alive."""
        return Gauge(name, help, multiprocess_mode="livesum", registry=self.registry)

    def _gauge(self, name: str, help: str) -> Gauge:
        """Return a gauge whose value over several processes is the lowest of those that are alive."""
        return Gauge(name, help, ["issuer"], multiprocess_mode="livemin", registry=self.registry)

    def around(self, handler: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return a handler that calls ``handler``, and counts the requests and streams that have not ended."""

        def handle(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            self._in_flight.inc()
            response: Iterable[bytes] = ()
            try:
                response = handler(environ, start_response)
            finally:
                if isinstance(response, Stream):
                    self._streams.inc()
                else:
                    self._in_flight.dec()
            return response

        return handle

    def __call__(self, request: Any, status: int, seconds: float) -> None:
        """Count and time a response, and count a rejection if the guard rejected the request."""
        labels = (request.method_label, request.route_label, status)
        found = self._by_response.get(labels)
        if found is None:
            counter = self._requests.labels(*map(str, labels))
            found = self._by_response[labels] = counter, self._durations.labels(*labels[:2])
        found[0].inc()
        found[1].observe(seconds)
        if request.streamed is not None:
            self._streams.dec()
            self._in_flight.dec()
        if request.rejected is not None:
            self._rejections[request.rejected.reason].inc()

    def job(self, driver: str, outcome: str, seconds: float | None = None) -> None:
        """Count a job: ``pushed``, ``rejected``, ``done``, ``retried`` or ``failed``; time it if it has run."""
        self._jobs.labels(driver, outcome).inc()
        if seconds is not None:
            self._job_time.labels(driver).observe(seconds)

    def statement_timer(self, connection: str, kind: str) -> Callable[[float], None]:
        """Return a function that counts a database statement, and takes its seconds."""
        timer: Histogram = self._statements.labels(connection, kind)
        return timer.observe

    def verified(self, algorithm: str, seconds: float) -> None:
        self._verification.labels(algorithm).observe(seconds)

    def looked_up(self, hit: bool) -> None:
        self._cache[hit].inc()

    def begins(self, issuer: str) -> None:
        for counter in (self._unknown, self._cooldown):
            counter.labels(issuer)  # starts at 0: rate() would miss an increase from no value to 1
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
    """Return the metrics as text, and its content type.

    They are those of all processes that share ``COUNTING_FOLDER`` or, without such a folder, those in ``own``.
    """
    registry = CollectorRegistry()
    if COUNTING_FOLDER in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    elif own is not None:
        registry = own
    exposed = CollectorRegistry()
    exposed.register(_WithAges(registry))
    return generate_latest(exposed), CONTENT_TYPE_LATEST


def ages() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    """Return the metrics that are computed when they are read, without samples."""
    return (
        GaugeMetricFamily("jwks_age_seconds", "Seconds since the cached key set was fetched.", labels=["issuer"]),
        GaugeMetricFamily("jwks_stale_seconds", "Seconds since the cached key set became stale.", labels=["issuer"]),
    )


class _WithAges:
    """Collects the metrics in ``registry``, and adds the age of the oldest key set of each issuer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Any]:
        now = time.time()
        age, stale = ages()
        since = {"jwks_fetched_timestamp_seconds": age, "jwks_fresh_until_timestamp_seconds": stale}
        for metric in self._registry.collect():
            yield metric
            for sample in metric.samples:
                if sample.name in since:
                    since[sample.name].add_metric([sample.labels["issuer"]], max(0.0, now - sample.value))
        yield from since.values()


def page(own: CollectorRegistry | None = None) -> Callable[[], tuple[int, bytes, str]]:
    """Return a function that returns status, body and content type of ``/metrics``, for ``METRICS_PORT``."""
    return lambda: (200, *exposition(own))
