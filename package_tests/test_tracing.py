"""Traces: continued, passed on, and exported if OpenTelemetry's variables enable it."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from masonite.controllers import Controller
from masonite.request import Request
from masonite.routes import Route
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from package_tests.support.applications import application as made_of
from package_tests.support.issuer import Issuer
from package_tests.support.servers import free_port, production
from package_tests.support.wsgi_client import request
from zuplo_origin.http.requests import trace_id
from zuplo_origin.observability.tracing import tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


class PassesOnController(Controller):
    def show(self, request: Request):
        return request.trace_headers()


def test_trace_headers_returns_the_headers_of_a_valid_trace():
    application = made_of(Route.get("/x", PassesOnController.show))
    sent = {"traceparent": TRACEPARENT, "tracestate": "a=1"}

    assert request(application, "GET", "/x", sent).json == sent
    assert request(application, "GET", "/x").json == {}
    assert request(application, "GET", "/x", {"traceparent": "00-x", "tracestate": "a=1"}).json == {}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (None, None),
        (TRACEPARENT, TRACE),
        (f"01-{TRACE}-{SPAN}-01-more", TRACE),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        ("", None),
    ],
)
def test_trace_id_is_read_from_a_valid_traceparent_only(sent, expected):
    assert trace_id({} if sent is None else {"HTTP_TRACEPARENT": sent}) == expected


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_tracing_is_off_unless_a_variable_enables_it(environment):
    assert tracing(environment, "x") is None


def test_tracing_is_disabled_with_a_warning_if_packages_are_missing(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    assert tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, "x") is None
    assert "requirements-otel.txt" in caplog.text


def test_tracing_is_disabled_with_a_warning_if_the_exporter_is_unknown(caplog):
    assert tracing({"OTEL_TRACES_EXPORTER": "carrier-pigeon"}, "x") is None
    assert "OTEL_TRACES_EXPORTER: unknown exporter 'carrier-pigeon'" in caplog.text


class Collector:
    """Receives spans by OTLP over HTTP."""

    def __init__(self):
        self.bodies = bodies = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        values = {each.key: each.value for each in span.attributes}
                        yield (
                            service,
                            span,
                            {
                                key: value.int_value if value.HasField("int_value") else value.string_value
                                for key, value in values.items()
                            },
                        )


def test_every_request_is_exported_as_a_span_of_its_trace_before_the_server_ends(tmp_path):
    collector, issuer = Collector(), Issuer()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    good = issuer.token()
    with production(free_port(), tmp_path / "log", **settings) as server:
        server.get("/protected", {"Authorization": f"Bearer {good}", "traceparent": TRACEPARENT})
        server.get("/protected?token=secret", {"Authorization": "Bearer a.b.c", "User-Agent": "secret"})
        server.get("/secret")
        posted = server.get("/protected", {"Authorization": f"Bearer {good}"}, "POST", b"{}")
        server.stop()
    lines = [json.loads(line) for line in server.output().splitlines()]
    collector.server.shutdown()
    collector.server.server_close()
    issuer.close()

    exported = {}
    for service, span, attributes in collector.spans():
        assert service == "Zuplo origin"
        exported[span.name, attributes["http.response.status_code"]] = span, attributes
    span, attributes = exported["GET /protected", 200]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert posted[0] == 405 and exported["POST", 405]
    assert attributes == {"http.request.method": "GET", "http.route": "/protected", "http.response.status_code": 200}
    assert exported["GET /protected", 401][1]["jwt.refusal"] == "malformed" and exported["GET", 404]
    assert not any(part in body for body in collector.bodies for part in (b"secret", good.split(".")[2].encode()))
    traces = [line["trace_id"] for line in lines if line.get("event") == "request"]
    assert TRACE in traces and exported["GET", 404][0].trace_id.hex() in traces
