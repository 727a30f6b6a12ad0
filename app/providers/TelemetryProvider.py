"""Binds what tells of the process."""

from app.foundation.Provider import Provider
from app.telemetry.AccessLog import AccessLog


class TelemetryProvider(Provider):
    """Adds the access log to the ``observers`` of requests."""

    def register(self) -> None:
        self.application.make("observers").append(AccessLog())
