"""Metrics for Prometheus."""

from masonite.environment import env

# Count requests, tokens and fetches, and publish them at /metrics.
ENABLED = env("METRICS_ENABLED", None, cast=False)

# A port of its own for /metrics, on HOST: then it is not among the routes that the gateway reaches.
PORT = env("METRICS_PORT", None, cast=False)
