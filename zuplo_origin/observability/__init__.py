"""Logs, metrics and traces. None of them contains text that a client sent, except a key id in the log."""

from typing import Any

COUNTING_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the folder in which processes share their counters; read when ``prometheus_client`` is imported."""


def enable_metrics(application: Any) -> None:
    """Bind ``metrics``, and count every request of ``application``."""
    from .metrics import Metrics  # only if enabled: its library takes memory

    metrics = Metrics()
    application.bind("metrics", metrics)
    application.make("observers").append(metrics)
    application.wrap_handler(metrics.around)
