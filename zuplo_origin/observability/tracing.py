"""OpenTelemetry spans, if its standard variables enable them and its packages are installed."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zuplo_origin.http.requests import TRACE_HEADERS

from .logs import Event

log = logging.getLogger("zuplo_origin")

_ENABLING = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class Tracing:
    """A span for each request, a child of the one in its ``traceparent`` header (W3C Trace Context).

    Its name is the method and the route. It contains nothing else that a client sent.
    """

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def around(self, handler: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return a handler that calls ``handler`` in a span, and replaces its ``traceparent`` by the span's."""
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind

        def handle(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            parent = propagate.extract({name: environ[key] for key, name in TRACE_HEADERS.items() if key in environ})
            with self._tracer.start_as_current_span("request", context=parent, kind=SpanKind.SERVER, end_on_exit=False):
                own: dict[str, str] = {}
                propagate.inject(own)
                for key, name in TRACE_HEADERS.items():
                    environ.pop(key, None)
                    if name in own:
                        environ[key] = own[name]
                return handler(environ, start_response)

        return handle

    def __call__(self, request: Any, status: int, seconds: float) -> None:
        """Set the attributes of the span, and end it (OpenTelemetry's semantic conventions for HTTP servers)."""
        from opentelemetry.trace import Status, StatusCode, get_current_span

        span = get_current_span()
        method, route = request.method_label, request.route_label
        span.update_name(f"{method} {route}" if request.route is not None else method)
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if request.rejected is not None:
            span.set_attribute("jwt.refusal", request.rejected.reason.value)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()  # not at the end of handle(): a streamed response ends later


def tracing(environment: Mapping[str, str], name: str) -> Tracing | None:
    """Return the tracing that OpenTelemetry's variables in ``environment`` enable; ``None`` if they enable none.

    ``name`` is the service name unless ``OTEL_SERVICE_NAME`` is set.
    """
    exporters = environment.get("OTEL_TRACES_EXPORTER", "otlp")
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporters == "none"
    if disabled or not any(environment.get(variable) for variable in _ENABLING):
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning(Event("tracing_disabled", why="packages are missing: pip install -r requirements-otel.txt"))
        return None
    from importlib.metadata import entry_points
    from multiprocessing.util import Finalize

    protocol = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    named = {} if "OTEL_SERVICE_NAME" in environment else {"service.name": name}
    provider = TracerProvider(resource=Resource.create(named))
    for exporter in exporters.split(","):
        wanted = _OTLP.get(protocol, protocol) if exporter.strip() == "otlp" else exporter.strip()
        found = entry_points(group="opentelemetry_traces_exporter", name=wanted)
        if not found:
            log.warning(Event("tracing_disabled", why=f"OTEL_TRACES_EXPORTER: unknown exporter {wanted!r}"))
            return None
        provider.add_span_processor(BatchSpanProcessor(next(iter(found)).load()()))
    Finalize(None, provider.shutdown, exitpriority=10)  # atexit functions do not run in processes of multiprocessing
    return Tracing(provider.get_tracer("zuplo-origin"))


def enable_tracing(application: Any) -> None:
    """Wrap the application's handler in spans, if the environment enables them."""
    enabled = tracing(os.environ, application.make("config").get("application.name"))
    if enabled is not None:
        application.make("observers").append(enabled)
        application.wrap_handler(enabled.around)
