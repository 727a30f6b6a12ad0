"""The readiness of this process: it has keys and, with ``READY_DATABASE``, its database responds."""

from typing import Any

PATHS = frozenset({"/health/live", "/health/ready"})
"""Requests for them have threads of their own: they are served while all others wait for a database."""


def readiness(application: Any) -> str:
    """Return ``ok``, ``degraded`` if some issuers have no usable keys, or ``unavailable``. Takes a second at most."""
    state: str = application.make("jwks").readiness()
    if state != "unavailable" and application.has("database.is_ready") and not application.make("database.is_ready")():
        return "unavailable"
    return state
