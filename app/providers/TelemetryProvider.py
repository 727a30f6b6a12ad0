"""Binds what tells of the process."""

from masonite.routes import Route

from app.foundation.Provider import Provider
from app.telemetry.AccessLog import AccessLog
from app.telemetry.Tracing import switch_on


class TelemetryProvider(Provider):
    """Adds the access log to the ``observers`` of requests. Binds ``metrics``, and traces, where they are asked for."""

    def register(self) -> None:
        make = self.application.make
        switch_on(self.application)
        make("observers").append(AccessLog())
        if not self.application.has("settings") or not make("settings").metrics:
            return
        from app.controllers.MetricsController import MetricsController  # with a library that nobody else needs
        from app.telemetry.Metrics import Metrics

        metrics = Metrics()
        self.application.bind("metrics", metrics)
        make("observers").append(metrics)
        if make("settings").metrics_port is None:
            make("router").add(Route.get("/metrics", MetricsController.show))
