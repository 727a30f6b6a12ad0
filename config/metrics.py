"""What Prometheus reads."""

from masonite.environment import env

# Whether anything is counted. It is told at /metrics, to whoever can reach it.
ENABLED = env("METRICS_ENABLED", "", cast=False) or "False"

# A port for /metrics alone, on all interfaces: then it is not among the routes that the gateway reaches.
PORT = env("METRICS_PORT", "", cast=False)
