"""What is counted, as Prometheus reads it."""

import os
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from app.telemetry import COUNTING_FOLDER

PATH = "/metrics"
READERS, SECONDS = 16, 5.0
"""How many may read them at once, and for how long."""


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


def serve(port: int, own: CollectorRegistry | None = None) -> None:
    """Serve them at ``/metrics`` on a port of their own, on all interfaces; ``OSError`` where it is taken.

    At most ``READERS`` at once are answered, in ``SECONDS`` at the most, and others not at all. Processes that are
    forked later hold nothing of it.
    """

    class Handler(_Handler):
        registry = own

    server = _Server(("0.0.0.0", port), Handler)  # noqa: S104  # Prometheus is another machine
    os.register_at_fork(after_in_child=server.forget)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= READERS:
            self.shutdown_request(request)
            return
        self._open.add(request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(SECONDS, _shut_down, [request])  # a time-out of the socket's begins anew with each byte
        end.daemon = True
        end.start()
        try:
            super().finish_request(request, client_address)
        finally:
            end.cancel()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._open.discard(request)

    def forget(self) -> None:
        """Close what is this process's through its parent alone."""
        for each in (self.socket, *self._open):
            with suppress(OSError):
                os.close(each.detach())  # close() would wait for the files that a handler made of it

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that hangs up is nobody's mistake."""


def _shut_down(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "metrics", ""
    registry: CollectorRegistry | None = None

    def do_GET(self) -> None:
        found = self.path == PATH
        text, kind = exposition(self.registry) if found else (b"", "text/plain")
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: they are read every few seconds."""
