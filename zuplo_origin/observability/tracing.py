"""Spans (OpenTelemetry), where its standard variables ask for them and its packages are installed."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zuplo_origin.http.context import TRACE_HEADERS

from .events import Event, method_of, route_of

log = logging.getLogger("zuplo_origin")

_ASKING = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class Tracing:
    """A span for each request, the child of the one that its ``traceparent`` names (W3C Trace Context).

    It is named by the route; nothing of what a client sent is in it. ``tracer`` makes the spans.
    """

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def around(self, handler: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return ``handler`` in a span, whose id stands in the ``traceparent`` that the handler sees."""
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind

        def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            parent = propagate.extract({name: environ[key] for key, name in TRACE_HEADERS.items() if key in environ})
            with self._tracer.start_as_current_span("request", context=parent, kind=SpanKind.SERVER, end_on_exit=False):
                own: dict[str, str] = {}
                propagate.inject(own)
                for key, name in TRACE_HEADERS.items():
                    environ.pop(key, None)
                    if name in own:
                        environ[key] = own[name]
                return handler(environ, start_response)

        return answer

    def __call__(self, request: Any, status: int, seconds: float) -> None:
        """Say what became of the request (OpenTelemetry's semantic conventions for HTTP servers)."""
        from opentelemetry.trace import Status, StatusCode, get_current_span

        span = get_current_span()
        method, route = method_of(request), route_of(request)
        span.update_name(f"{method} {route}" if request.route is not None else method)
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if request.rejected is not None:
            span.set_attribute("jwt.refusal", request.rejected.reason.value)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()  # a streamed response ends after its handler has returned


def tracing(environment: Mapping[str, str], name: str) -> Tracing | None:
    """Return the tracing that the standard variables in ``environment`` ask for, ``None`` where they ask for none.

    ``name`` is the service's, unless OTEL_SERVICE_NAME says otherwise.
    """
    exporters = environment.get("OTEL_TRACES_EXPORTER", "otlp")
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporters == "none"
    if disabled or not any(environment.get(asking) for asking in _ASKING):
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning(Event("tracing_off", why="its packages are not installed: pip install -r requirements-otel.txt"))
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
            log.warning(Event("tracing_off", why=f"there is no exporter {wanted}"))
            return None
        provider.add_span_processor(BatchSpanProcessor(next(iter(found)).load()()))
    Finalize(None, provider.shutdown, exitpriority=10)  # in a forked process, nothing registered with atexit is called
    return Tracing(provider.get_tracer("zuplo-origin"))


def switch_on(application: Any) -> None:
    """Put the application's handler into spans, where the environment asks for them."""
    made = tracing(os.environ, application.make("config").get("application.name"))
    if made is not None:
        application.make("observers").append(made)
        application.set_response_handler(made.around(application.response_handler))
