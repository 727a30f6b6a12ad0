"""Metrics for Prometheus."""

from masonite.environment import env

# True counts requests, tokens and fetches, and serves the metrics at /metrics. The default is False.
ENABLED = env("METRICS_ENABLED", None, cast=False)

# A separate port for /metrics, on HOST, so that the gateway cannot reach it. By default, /metrics is a route on PORT.
PORT = env("METRICS_PORT", None, cast=False)
