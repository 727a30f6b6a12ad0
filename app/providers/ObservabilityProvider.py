"""Binds logs, metrics and traces."""

from zuplo_origin.http.handler import Provider
from zuplo_origin.observability.logs import AccessLog
from zuplo_origin.observability.tracing import switch_on


class ObservabilityProvider(Provider):
    """Adds the access log to the `observers` of requests, and, if the settings ask for them, metrics and traces."""

    def register(self) -> None:
        make = self.application.make
        switch_on(self.application)
        make("observers").append(AccessLog())
        if self.application.has("settings") and make("settings").metrics:
            from zuplo_origin.observability.metrics import Metrics  # its library takes memory

            metrics = Metrics()
            self.application.bind("metrics", metrics)
            make("observers").append(metrics)
