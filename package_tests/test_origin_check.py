"""`craft origin:check` on this application, and on origins with one fault each."""

import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from xml.etree import ElementTree

import pytest
from masonite.controllers import Controller
from masonite.routes import Route

from package_tests.support.certificates import Authority
from package_tests.support.gateway import GATEWAY
from package_tests.support.project import copy_of_the_project, craft, serve, start_craft
from package_tests.support.servers import PROJECT, free_port, production
from package_tests.support.wsgi_client import request
from zuplo_origin.dev.origin_check import InvalidTarget, OriginCheck


@contextmanager
def origin(application, fault=None):
    """Serve `application` over HTTP, and yield the URL. `fault` changes each response."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            response = request(application, self.command, self.path, dict(self.headers))
            status, headers, body = response.status, dict(response.header_list), response.body
            if fault is not None:
                status, headers, body = fault(self.path, dict(self.headers), status, headers, body)
            self.send_response(status)
            for name, value in ({**headers, "Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def unsuccessful(url, token=None, **options):
    """Return the checks that failed or were skipped."""
    return [result.check for result in OriginCheck(url, token=token, **options).run() if not result.passed]


def test_correct_origin_passes_all_checks(application):
    with origin(application) as url:
        assert unsuccessful(url, sign=lambda claims: GATEWAY.token("RS256", **{**claims, "iss": GATEWAY.name})) == []


def test_check_that_needs_a_missing_token_is_skipped(application):
    with origin(application) as url:
        assert unsuccessful(url, GATEWAY.token("ES256")) == ["an expired token"]
        assert unsuccessful(url, GATEWAY.token(iat=1, exp=2)) == ["a valid token"]


def test_untrusted_key_is_checked_with_the_kid_of_the_token(application):
    with origin(application) as url:
        results = list(OriginCheck(url, token=GATEWAY.token()).run())

    assert not any(result.passed is False for result in results)
    (untrusted,) = (result for result in results if result.check == "an untrusted key")
    assert untrusted.detail == "401, Invalid token, kid k-EdDSA"


def accept_any_token(path, request_headers, status, headers, body):
    if path == "/protected" and "Authorization" in request_headers:
        return 200, headers, b'{"message": "Access granted", "user": {}}'
    return status, headers, body


def reject_with_403(path, request_headers, status, headers, body):
    return (403, headers, body) if status == 401 else (status, headers, body)


def omit_cache_control(path, request_headers, status, headers, body):
    return status, {name: value for name, value in headers.items() if name != "Cache-Control"}, body


def show_a_debug_page(path, request_headers, status, headers, body):
    if status == 404:
        return 500, {"Content-Type": "text/html"}, b"<html>Traceback (most recent call last)"
    return status, headers, body


def publish_console_and_metrics(path, request_headers, status, headers, body):
    return (200, {"Content-Type": "text/html"}, b"<html>") if path in ("/", "/metrics") else (status, headers, body)


def reject_any_token(path, request_headers, status, headers, body):
    return (401, headers, b'{"error": "Invalid token"}') if status == 200 else (status, headers, body)


def repeat_the_token(path, request_headers, status, headers, body):
    if b"Invalid" in body and "Authorization" in request_headers:
        body = json.dumps({"error": "Invalid token", "details": request_headers["Authorization"]}).encode()
    return status, headers, body


def omit_the_challenge(path, request_headers, status, headers, body):
    return status, {name: value for name, value in headers.items() if name != "WWW-Authenticate"}, body


REJECTIONS = ["no token", "garbage", "alg: none", "an untrusted key"]


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        (accept_any_token, ["garbage", "alg: none", "an untrusted key", "GET /protected"]),
        (reject_with_403, [*REJECTIONS, "GET /protected"]),
        (omit_cache_control, [*REJECTIONS, "a valid token"]),
        (show_a_debug_page, ["no debug page"]),
        (publish_console_and_metrics, ["no console", "no metrics"]),
        (reject_any_token, ["a valid token"]),
        (repeat_the_token, ["alg: none", "an untrusted key"]),
        (omit_the_challenge, REJECTIONS),
    ],
)
def test_faulty_origin_fails_the_matching_checks(application, fault, failed):
    with origin(application, fault) as url:
        results = OriginCheck(url, token=GATEWAY.token()).run()
        assert [result.check for result in results if result.passed is False] == failed


class OrdersController(Controller):
    calls: ClassVar[list] = []

    def index(self):
        self.calls.append("index")
        return []

    def destroy(self, id):
        self.calls.append("destroy")
        return {}

    def hook(self):
        return {}


@pytest.fixture
def orders(application, monkeypatch):
    """An application with more routes; what they have been called with is in `OrdersController.calls`."""
    router = application.make("router")
    monkeypatch.setattr(router, "routes", router.routes)
    monkeypatch.setattr(OrdersController, "calls", [])
    router.add(
        Route.get("/orders", OrdersController.index).middleware("jwt:read:orders"),
        Route.delete("/orders/@id:int", OrdersController.destroy).middleware("jwt:write:orders"),
        Route.post("/hook", OrdersController.hook).middleware("public"),
    )
    return application


def sign(claims):
    return GATEWAY.token("RS256", **{**claims, "iss": GATEWAY.name})


def test_every_described_route_is_checked(orders):
    with origin(orders) as url:
        results = {result.check: result for result in OriginCheck(url, sign=sign).run()}

    assert all(result.passed for result in results.values())
    assert results["GET /orders"].detail == "401 for 4 bad tokens, 403 without its scopes"
    assert results["DELETE /orders/0"].detail == "401 for 4 bad tokens, 403 without its scopes"
    assert results["GET /protected"].detail == "401 for 4 bad tokens"
    assert "POST /hook" in results["open routes"].detail and "GET /health/live" in results["open routes"].detail
    assert OrdersController.calls == []


def test_token_of_the_caller_changes_nothing(orders):
    with origin(orders) as url:
        results = {result.check: result for result in OriginCheck(url, token=GATEWAY.token(scope="read:orders")).run()}
        lacking = {result.check: result for result in OriginCheck(url, token=GATEWAY.token(scope="other")).run()}

    assert results["GET /orders"].detail == "401 for 4 bad tokens"  # the token has its scope
    assert lacking["GET /orders"].detail.endswith("403 without its scopes")
    assert lacking["DELETE /orders/0"].detail == "401 for 4 bad tokens"  # only a GET is tried with a valid token
    assert OrdersController.calls == []


def test_open_door_on_a_described_route_is_found(orders):
    def ignore_tokens(path, request_headers, status, headers, body):
        return (200, headers, b"[]") if path.startswith("/orders") else (status, headers, body)

    with origin(orders, ignore_tokens) as url:
        results = {result.check: result for result in OriginCheck(url, sign=sign).run()}

    for check in ("GET /orders", "DELETE /orders/0"):
        assert results[check].passed is False
        assert "200 instead of 401 with no token" in results[check].detail
        assert "200 instead of 403" in results[check].detail


def test_description_can_be_a_file_or_absent(orders):
    def hide_description(path, request_headers, status, headers, body):
        return (404, headers, b"{}") if path == "/openapi.json" else (status, headers, body)

    document = json.loads(json.dumps(orders.make("openapi").document()))
    with origin(orders, hide_description) as url:
        absent = {result.check: result for result in OriginCheck(url, sign=sign).run()}
        given = {result.check: result for result in OriginCheck(url, sign=sign, description=document).run()}

    assert absent["routes"].passed is None and "--openapi" in absent["routes"].detail
    assert given["GET /orders"].passed


SECRET = "a-secret-of-the-gateway-0123456789"
LATER = ["no secret", "another secret"]


def ask_for_the_secret(path, request_headers, status, headers, body):
    if path.startswith("/health/") or request_headers.get("X-Backend") == SECRET:
        return status, headers, body
    return 401, {"Cache-Control": "no-store"}, b'{"error": "Not from the gateway"}'


def ask_for_any_secret(path, request_headers, status, headers, body):
    is_sent = "X-Backend" in request_headers
    return (status, headers, body) if is_sent else ask_for_the_secret(path, request_headers, status, headers, body)


def ask_where_a_route_is(path, request_headers, status, headers, body):
    is_route = path.startswith("/orders")
    return ask_for_the_secret(path, request_headers, status, headers, body) if is_route else (status, headers, body)


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        (ask_for_the_secret, []),
        (ask_for_any_secret, ["another secret"]),
        (ask_where_a_route_is, LATER),
        (None, LATER),
    ],
)
def test_origin_that_accepts_requests_without_the_secret_is_found(orders, fault, failed):
    with origin(orders, fault) as url:
        results = list(OriginCheck(url, sign=sign, secret=("X-Backend", SECRET)).run())

    assert [result.check for result in results if result.passed is False] == failed
    assert OrdersController.calls == [] and SECRET not in repr(results)
    if fault is ask_where_a_route_is:
        (detail,) = (result.detail for result in results if result.check == "no secret")
        assert "GET /protected: status 200" in detail and "GET /orders" not in detail


def test_origin_that_asks_for_a_secret_names_the_option(application):
    with origin(application, ask_for_the_secret) as url:
        results = {result.check: result for result in OriginCheck(url).run()}
        other = {result.check: result for result in OriginCheck(url, secret=("X-Backend", "b" * 32)).run()}

    assert "pass --secret" in results["no token"].detail and "GATEWAY_SECRET is another" in other["no token"].detail


def test_secret_is_sent_over_https_alone():
    with pytest.raises(InvalidTarget, match="https alone"):
        OriginCheck("http://origin.example", secret=("backend-secret", SECRET))


def test_command_takes_the_secret_from_the_environment(orders):
    with origin(orders, ask_for_the_secret) as url:
        settings = {"GATEWAY_SECRET": f"{SECRET},{'b' * 32}", "GATEWAY_SECRET_HEADER": "X-Backend"}
        arguments = ("origin:check", url, "--secret", "--token", GATEWAY.token())
        ended = craft(PROJECT, *arguments, **settings)
        without = craft(PROJECT, *arguments)

    assert (ended.returncode, ended.stderr) == (0, "") and "✓ another secret" in ended.stdout
    assert SECRET not in ended.stdout
    assert without.returncode == 1 and "GATEWAY_SECRET is not set" in without.stderr


@pytest.mark.parametrize("description", [[], {}, {"paths": []}, {"paths": {"/a": []}}, {"paths": {"/a": {"get": 1}}}])
def test_description_that_is_none_is_reported(application, description):
    with origin(application) as url:
        results = {result.check: result for result in OriginCheck(url, sign=sign, description=description).run()}

    assert results["routes"].passed is None and "not an OpenAPI document" in results["routes"].detail


def test_first_guarded_route_is_used_if_the_usual_one_is_gone(orders):
    router = orders.make("router")
    router.routes = [route for route in router.routes if route.url != "/protected"]
    with origin(orders) as url:
        results = {result.check: result for result in OriginCheck(url, token=GATEWAY.token(scope="read:orders")).run()}

    assert results["a valid token"].passed and OrdersController.calls == ["index"]


def test_unreachable_origin_fails_with_the_cause():
    port = free_port()
    *_, last = OriginCheck(f"http://127.0.0.1:{port}").run()

    detail = f"none: 127.0.0.1:{port} rejects connections: the port is closed; check host and port"
    assert last.passed is False and last.detail == detail


def send_slowly(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X")
        time.sleep(0.05)


def send_invalid_gzip(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd")


@pytest.mark.parametrize(
    ("respond", "detail"), [(send_slowly, "incomplete after 1 s"), (send_invalid_gzip, "its gzip content is broken")]
)
def test_incomplete_response_fails_within_the_timeout(monkeypatch, respond, detail):
    monkeypatch.setattr("zuplo_origin.dev.origin_check.TIMEOUT", 1.0)

    def serve_one():
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            respond(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve_one)
        serving.start()
        *_, last = OriginCheck(f"http://127.0.0.1:{listening.getsockname()[1]}").run()
        serving.join()

    assert last.passed is False and last.detail.startswith("none: ") and last.detail.endswith(detail)


def test_untrusted_certificate_is_named(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path).issue("origin"))

    def serve_one():
        connection, _ = listening.accept()
        with suppress(OSError), context.wrap_socket(connection, server_side=True):
            """The client ends the handshake."""

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve_one)
        serving.start()
        *_, last = OriginCheck(f"https://127.0.0.1:{listening.getsockname()[1]}").run()
        serving.join()

    assert last.passed is False and "the TLS certificate is not trusted (" in last.detail


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "origin.example"},
        {"url": "http://["},
        {"url": "http://a:99999"},
        {"url": "http://user:pw@origin.example"},
        {"url": "http://origin.example/ "},
        {"path": "protected"},
        {"path": "@evil.example/"},
        {"header": "Ü x"},
        {"header": ""},
        {"scheme": "a b"},
        {"token": "a\r\nb"},
        {"token": "\udcff"},
    ],
)
def test_invalid_argument_is_rejected(arguments):
    with pytest.raises(InvalidTarget):
        OriginCheck(**{"url": "http://origin.example"} | arguments)


@pytest.mark.parametrize(
    "header", [{"alg": []}, {"alg": "HS256"}, {"alg": None, "kid": 5}, {"kid": {}}, {"kid": "\U0001f511"}]
)
def test_token_with_an_unusual_header_is_sent(application, header):
    token = GATEWAY.token(header=header)
    with origin(application) as url:
        assert "a valid token" in unsuccessful(url, token)


def test_http_fails_beyond_loopback():
    first = next(OriginCheck("http://origin.example").run())

    assert (first.check, first.passed, first.detail) == ("TLS", False, "http")


def test_results_are_printed_as_json_and_written_as_junit(application, tmp_path):
    with origin(application, omit_the_challenge) as url:
        ended = craft(PROJECT, "origin:check", url, "--json", "--junit", str(tmp_path / "results.xml"))

    results = json.loads(ended.stdout)
    suite = ElementTree.parse(tmp_path / "results.xml").getroot()  # noqa: S314  # written here
    assert ended.returncode == 1
    assert {"check": "TLS", "passed": True, "detail": "not needed on loopback"} in results
    assert (len(suite), suite.get("failures")) == (len(results), str(sum(each["passed"] is False for each in results)))
    assert suite.find("testcase[@name='no token']/failure").get("message") == "no WWW-Authenticate"


@pytest.mark.parametrize(
    "arguments", [("--openapi", "/missing"), ("--openapi", __file__), ("--junit", "/missing/results.xml")]
)
def test_file_that_cannot_be_used_is_one_line(application, arguments):
    with origin(application) as url:
        ended = craft(PROJECT, "origin:check", url, *arguments)

    assert ended.returncode == 1 and len(ended.stderr.splitlines()) == 1 and arguments[1] in ended.stderr


def test_command_exits_with_1_if_a_check_fails(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    settings = {"JWT_ISSUER": GATEWAY.name, "JWT_AUDIENCE": "https://api.test/*"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        url = f"http://127.0.0.1:{server.port}"
        for arguments, status in (([url, "--token", GATEWAY.token()], 0), ([url, "--token", "a.b.c"], 1)):
            ended = craft(project, "origin:check", *arguments)
            assert (ended.returncode, ended.stderr) == (status, "")
            assert ("✗" in ended.stdout) == bool(status) and "✓" in ended.stdout


def return_markup(path, request_headers, status, headers, body):
    return status, headers, b'{"error": "<fg=nope>x</> \\u001b[31m"}'


def test_command_prints_markup_of_the_origin_unchanged(application):
    with origin(application, return_markup) as url:
        ended = start_craft(PROJECT, "origin:check", url)

    assert (ended.returncode, ended.stderr) == (1, "")
    assert "<fg=nope>x</>" in ended.stdout and "\x1b" not in ended.stdout


def test_command_skips_no_check_on_the_development_server(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    with serve(project, tmp_path / "log", "--dont-reload") as server:
        ended = craft(project, "origin:check", f"http://127.0.0.1:{server.port}")

    lines = ended.stdout.splitlines()
    assert [line for line in lines if line.startswith("·")] == []
    assert [line.split()[1:3] for line in lines if line.startswith("✗")] == [["no", "console"]]
