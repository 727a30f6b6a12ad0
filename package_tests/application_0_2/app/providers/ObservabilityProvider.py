"""Binds logs, metrics and traces."""

from zuplo_origin.http.kernel import Provider
from zuplo_origin.observability import enable_metrics
from zuplo_origin.observability.logs import AccessLog
from zuplo_origin.observability.tracing import enable_tracing


class ObservabilityProvider(Provider):
    """Adds the access log and, if they are enabled, metrics and traces to the `observers` of requests."""

    def register(self) -> None:
        make = self.application.make
        enable_tracing(self.application)
        make("observers").append(AccessLog())
        if self.application.has("settings") and make("settings").metrics:
            enable_metrics(self.application)
