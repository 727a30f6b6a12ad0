"""Logs, metrics and traces. None of them contains text that a client sent, except a key id in the log."""

COUNTING_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the folder in which processes share their counters; read when ``prometheus_client`` is imported."""
