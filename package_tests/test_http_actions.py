"""Actions: what they read, return and raise, over the whole request lifecycle."""

import json
import logging
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace

import pytest
from masonite import exceptions, facades
from masonite.controllers import Controller
from masonite.events import Event
from masonite.exceptions import AuthorizationException, ModelNotFoundException, ThrottleRequestsException
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route
from masonite.validation import Validator
from masoniteorm.exceptions import ModelNotFound
from pydantic import BaseModel

from package_tests.support.applications import application
from package_tests.support.wsgi_client import environ, request
from zuplo_origin.http.errors import HttpException, ValidationFailed, phrase
from zuplo_origin.http.kernel import Provider
from zuplo_origin.http.routing import RouteError

JSON = {"Content-Type": "application/json"}


class Item(BaseModel):
    sku: str
    price: Decimal = Decimal(0)


@dataclass
class Total:
    amount: Decimal


class Documented(Exception):
    """An exception with Masonite's protocol."""

    is_http_exception = True

    def get_status(self):
        return 409

    def get_response(self):
        return {"conflict": "orders/1"}

    def get_headers(self):
        return {"X-Conflict": 1}


class Actions(Controller):
    """Each action is one case. `result` and `error` are set by the tests."""

    result = None
    error = None

    def returned(self):
        return type(self).result

    def raised(self):
        raise type(self).error

    def declared(self, response: Response):
        response.status(202)
        return None

    def facade(self, response: Response):
        response.with_headers({"X-Name": "a"}).status(202)
        return facades.Response

    def typed(self, request: Request, item: Item, number):
        return {"item": item, "number": number, "path": request.get_path()}

    def read(self, request: Request):
        return {
            "raw": request.body().decode(),
            "json": request.json(),
            "all": request.all(),
            "skus": request.input("items.*.sku"),
            "page": request.query("page", "1"),
        }

    def uploaded(self, request: Request):
        upload = request.input("file")
        return {"name": upload.filename, "text": upload.stream().read().decode(), "title": request.input("title")}

    def parameter(self, name):
        return {"name": name}

    async def waiting(self):
        return {}

    def scope(self):
        container = type(self).result
        container.current_scope().at_end(lambda: container.ended.append("scope"))
        if type(self).error:
            raise type(self).error
        return {}

    def scope_of_a_stream(self):
        container = type(self).result

        def chunks():
            container.current_scope().at_end(lambda: container.ended.append("scope"))
            for chunk in ("a", "b", "c"):
                container.ended.append(chunk)
                yield chunk

        return chunks()

    def address(self, request: Request):
        return {"ip": request.ip()}

    def claims(self, request: Request):
        clients = {"my.shop": {"roles": ["buyer"]}}
        request.set_user(
            {"https://a/roles": ["x"], "realm_access": {"roles": ["admin"]}, "sub": "me", "access": clients}
        )
        paths = ("https://a/roles", "realm_access.roles.0", "access.my.shop.roles", "sub", "missing.path")
        return {path: request.claim(path, "none") for path in paths}


def respond(action, method="GET", path="/x", url="/x", headers=None, body=None, **settings):
    made = application(getattr(Route, method.lower())(url, action))
    if settings:
        made.bind(
            "settings",
            SimpleNamespace(**{"max_body": 1_048_576, "upload_folder": None, "environment": "testing"} | settings),
        )
    return request(made, method, path, headers, body)


@pytest.fixture
def returned(monkeypatch):
    def respond_with(value):
        monkeypatch.setattr(Actions, "result", staticmethod(value) if callable(value) else value)
        return respond(Actions.returned)

    return respond_with


@pytest.mark.parametrize(
    ("value", "status", "body"),
    [
        ({"total": Decimal("1.10")}, 200, {"total": "1.10"}),
        (Total(Decimal("2.0")), 200, {"amount": "2.0"}),
        (Item(sku="a"), 200, {"sku": "a", "price": "0"}),
        ((Item(sku="a"), 201), 201, {"sku": "a", "price": "0"}),
        ([Item(sku="a")], 200, [{"sku": "a", "price": "0"}]),
        (({}, 202), 202, {}),
    ],
)
def test_returned_value_is_sent_as_json(returned, value, status, body):
    response = returned(value)

    assert (response.status, response.json) == (status, body)
    assert response.headers["content-type"] == "application/json; charset=utf-8"


def test_facade_of_the_response_stands_for_it():
    response = respond(Actions.facade)

    assert (response.status, response.body, response.headers["x-name"]) == (202, b"", "a")


def test_none_is_204_without_content(returned):
    response = returned(None)

    assert (response.status, response.body) == (204, b"")
    assert "content-type" not in response.headers and "content-length" not in response.headers


def test_none_keeps_a_declared_status():
    assert respond(Actions.declared).status == 202


def test_content_of_a_204_is_not_sent(returned):
    response = returned(({"a": 1}, 204))

    assert (response.status, response.body) == (204, b"") and "content-length" not in response.headers


def test_bytes_are_sent_as_they_are(returned):
    response = returned(b"\x00\xff")

    assert (response.status, response.body) == (200, b"\x00\xff")
    assert response.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("status", [400, 402, 409, 410, 418, 422, 429, 451, 499, 500, 502, 504, 599])
def test_http_exception_is_its_status_phrase_and_details(monkeypatch, status):
    monkeypatch.setattr(Actions, "error", HttpException(status, {"why": "x"}, {"Retry-After": "5"}))

    response = respond(Actions.raised)

    assert (response.status, response.json) == (status, {"error": phrase(status), "details": {"why": "x"}})
    assert response.headers["retry-after"] == "5"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(402, "Payment required"), (404, "Not found"), (413, "Payload too large"), (418, "I'm a teapot")]
    + [(422, "Unprocessable entity"), (499, "Client error"), (599, "Server error")],
)
def test_phrase_is_in_sentence_case_on_every_python(status, expected):
    assert phrase(status) == expected


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (AuthorizationException("secret"), 403, {"error": "Forbidden"}),
        (ModelNotFoundException("secret"), 404, {"error": "Not found"}),
        (ModelNotFound("secret"), 404, {"error": "Not found"}),
        (ThrottleRequestsException(headers={"Retry-After": 7}), 429, {"error": "Too many requests"}),
        (Documented("secret"), 409, {"conflict": "orders/1"}),
    ],
)
def test_exception_with_masonites_protocol_is_its_status(monkeypatch, error, status, body):
    monkeypatch.setattr(Actions, "error", error)

    response = respond(Actions.raised)

    assert (response.status, response.json) == (status, body)


def test_headers_of_masonites_exceptions_are_sent(monkeypatch):
    monkeypatch.setattr(Actions, "error", ThrottleRequestsException(headers={"Retry-After": 7}))
    assert respond(Actions.raised).headers["retry-after"] == "7"
    monkeypatch.setattr(Actions, "error", Documented())
    assert respond(Actions.raised).headers["x-conflict"] == "1"


class Listener:
    """A listener of Masonite's events; the class is bound, as Masonite creates one for each event."""

    fired: list = []  # noqa: RUF012

    def handle(self, event, exception):
        self.fired.append((event, exception))


@pytest.mark.parametrize("pattern", ["masonite.exception.ValueError", "masonite.exception.*"])
def test_handler_and_event_of_an_exception_are_called_as_in_masonite(monkeypatch, pattern):
    made, error = application(Route.get("/x", Actions.raised)), ValueError("secret")

    class ValueErrorHandler:
        def handle(self, exception):
            return made.make("response").json({"error": "Handled"}, status=418)

    made.bind("event", Event(made))
    made.make("event").listen(pattern, [Listener])
    made.bind("ValueErrorHandler", ValueErrorHandler())
    monkeypatch.setattr(Actions, "error", error)
    monkeypatch.setattr(Listener, "fired", [])

    response = request(made, "GET", "/x")

    assert (response.status, response.json) == (418, {"error": "Handled"})
    assert Listener.fired == [("masonite.exception.ValueError", error)]


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [("GET", "/none", "RouteNotFoundException"), ("POST", "/x", "MethodNotAllowedException")],
)
def test_missing_route_has_the_name_of_masonites_exception(monkeypatch, method, path, name):
    made = application(Route.get("/x", Actions.raised))
    made.bind("event", Event(made))
    made.make("event").listen(f"masonite.exception.{name}", [Listener])
    monkeypatch.setattr(Listener, "fired", [])

    response = request(made, method, path)

    ((event, exception),) = Listener.fired
    assert event == f"masonite.exception.{name}" and isinstance(exception, getattr(exceptions, name))
    assert response.json == {"error": phrase(response.status)} and response.status in (404, 405)
    assert str(exception).startswith(f"{method} ")
    made.bind(f"{name}Handler", SimpleNamespace(handle=lambda raised: {"handled": raised.get_status()}))
    assert request(made, method, path).json == {"handled": response.status}


def test_listener_or_handler_that_raises_is_a_plain_500(monkeypatch, caplog):
    made = application(Route.get("/x", Actions.raised))
    made.bind("ValueErrorHandler", SimpleNamespace(handle=lambda exception: 1 / 0))
    monkeypatch.setattr(Actions, "error", ValueError("secret"))

    response = request(made, "GET", "/x")

    assert (response.status, response.json) == (500, {"error": "Internal server error"})
    assert "exception_handler_failed" in caplog.text


def test_exception_handler_of_a_provider_replaces_the_usual_one(monkeypatch):
    made = application(Route.get("/x", Actions.raised))

    class Handler:
        def __init__(self, application):
            self.application = application

        def handle(self, exception):
            name = type(exception).__name__
            return self.application.make("response").json({"mine": name}, status=getattr(exception, "status", 500))

    class ErrorsProvider(Provider):
        def register(self):
            self.application.bind("exception_handler", Handler(self.application))

    made.add_providers(ErrorsProvider)
    monkeypatch.setattr(Actions, "error", ValueError("x"))

    assert request(made, "GET", "/x").json == {"mine": "ValueError"}
    assert (request(made, "GET", "/none").status, request(made, "POST", "/x").status) == (404, 405)


def test_validation_of_masonite_is_422_with_every_fault(monkeypatch):
    validate = Validator()
    errors = validate.validate({"age": "x"}, validate.required("name"), validate.numeric("age"))
    monkeypatch.setattr(Actions, "error", ValidationFailed(errors))

    response = respond(Actions.raised)

    assert (response.status, response.json["error"]) == (422, "Validation failed")
    assert {each["field"] for each in response.json["details"]} == {"name", "age"}


def test_unhandled_exception_is_described_with_app_debug_alone(monkeypatch):
    monkeypatch.setattr(Actions, "error", ValueError("hunter2"))
    local = {"environment": "local"}

    shown = respond(Actions.raised, **local, debug=True).json
    hidden = respond(Actions.raised, **local, debug=False).json

    assert hidden == {"error": "Internal server error"}
    assert (shown["exception"]["type"], shown["exception"]["message"]) == ("ValueError", "hunter2")
    assert shown["exception"]["frames"][-1]["function"] == "raised"


def test_model_is_read_beside_services_and_route_parameters():
    response = respond(Actions.typed, "POST", "/n/7", "/n/@number:int", JSON, b'{"sku": "a", "price": 1.10}')

    assert response.json == {"item": {"sku": "a", "price": "1.10"}, "number": 7, "path": "/n/7"}


def test_invalid_model_is_422_with_every_fault():
    response = respond(Actions.typed, "POST", "/n/7", "/n/@number:int", JSON, b'{"price": "x"}')

    assert (response.status, response.json["error"]) == (422, "Validation failed")
    assert [each["field"] for each in response.json["details"]] == ["sku", "price"]


def test_body_is_read_in_every_form_of_one_request():
    body = b'{"items": [{"sku": "a"}, {"sku": "b"}]}'
    response = respond(Actions.read, "POST", "/x?page=2", headers=JSON, body=body)

    assert response.json == {
        "raw": body.decode(),
        "json": json.loads(body),
        "all": json.loads(body) | {"page": "2"},
        "skus": ["a", "b"],
        "page": "2",
    }


def test_upload_is_read_from_a_multipart_body():
    body = (
        b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nx\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n1,2\r\n--b--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    response = respond(Actions.uploaded, "POST", headers=headers, body=body)

    assert response.json == {"name": "a.csv", "text": "1,2", "title": "x"}


def test_route_has_a_limit_of_its_own():
    small = application(Route.post("/x", Actions.read).middleware("body:8"))
    large = application(Route.post("/x", Actions.read).middleware("body:2MB"))
    body = json.dumps({"items": "x" * 1_500_000}).encode()

    assert request(small, "POST", "/x", JSON, b'{"items": []}').status == 413
    assert request(large, "POST", "/x", JSON, body).status == 200
    assert small.admit({"REQUEST_METHOD": "POST", "PATH_INFO": "/x"}) == 8
    assert large.admit({"REQUEST_METHOD": "POST", "PATH_INFO": "/x"}) == 2_097_152


def test_route_without_a_body_rejects_any():
    none = application(Route.post("/x", Actions.read).middleware("body:0"))

    assert none.admit({"REQUEST_METHOD": "POST", "PATH_INFO": "/x"}) == 0
    assert request(none, "POST", "/x", JSON, b"{}").status == 413


def test_default_limit_is_a_setting():
    assert respond(Actions.read, "POST", headers=JSON, body=b'{"items": []}', max_body=8).status == 413


@pytest.mark.parametrize(
    ("path", "name"),
    [("/u/a@example.com", "a@example.com"), ("/u/auth0|123", "auth0|123"), ("/u/urn:uuid:1", "urn:uuid:1")]
    + [("/u/a b", "a b"), ("/u/é".encode().decode("latin-1"), "é"), ("/u/a+b,c=d~e", "a+b,c=d~e")],
)
def test_parameter_matches_anything_but_a_slash(path, name):
    assert respond(Actions.parameter, path=path, url="/u/@name").json == {"name": name}
    assert respond(Actions.parameter, path="/u/a/b", url="/u/@name").status == 404


def test_number_that_no_column_holds_is_404():
    assert respond(Actions.parameter, path=f"/n/{2**63 - 1}", url="/n/@number:int").json == {"name": 2**63 - 1}
    for number in (2**63, 10**30, "9" * 5000):
        assert respond(Actions.parameter, path=f"/n/{number}", url="/n/@number:int").status == 404


@pytest.mark.parametrize(
    ("route", "message"),
    [
        (lambda: Route.get("/a/{id}", Actions.parameter), "a parameter is spelled @id"),
        (lambda: Route.get("/a", Actions.waiting), "waiting is async"),
        (lambda: Route.get("/a", Actions.read).middleware("probe:@user"), "remove the @"),
        (lambda: Route.get("/a", Actions.read).middleware("probe:read write"), "separated by commas"),
        (lambda: Route.get("/a", Actions.read).middleware("body:20apples"), "write 4096, 64KB or 20MB"),
        (lambda: Route.get("/a", Actions.read).middleware("jwt:"), "an argument is empty"),
        (lambda: Route.get("/a", Actions.read).middleware("jwt:read,,write"), "an argument is empty"),
        (lambda: Route.get("/a", Actions.read).middleware("probe:"), "an argument is empty"),
        (lambda: Route.get("/a", Actions.read).middleware("public", "jwt"), "declared public, and guarded"),
        (lambda: Route.get("/a", Actions.read).middleware("claims:a", "public"), "declared public, and guarded"),
    ],
)
def test_invalid_route_is_an_error_at_start(route, message):
    with pytest.raises(RouteError, match=message):
        application(route())


def test_fallback_is_used_only_if_no_other_route_matches():
    made = application(Route.get("/@rest:any", Actions.parameter), Route.get("/late", Actions.declared))

    assert request(made, "GET", "/late").status == 202
    assert request(made, "GET", "/other/path").json == {"name": "other/path"}


def test_open_routes_are_those_without_a_guard_or_a_declaration():
    made = application(
        Route.get("/open", Actions.read),
        Route.get("/public", Actions.read).middleware("public"),
        Route.post("/x", Actions.read),
    )

    assert made.make("router").open_routes() == ["GET /open", "POST /x"]


def test_claim_is_found_by_its_name_or_by_a_path():
    assert respond(Actions.claims).json == {
        "https://a/roles": ["x"],
        "realm_access.roles.0": "admin",
        "access.my.shop.roles": ["buyer"],
        "sub": "me",
        "missing.path": "none",
    }


def test_ip_is_the_peer_unless_a_header_is_configured():
    headers = {"X-Forwarded-For": "6.6.6.6, 10.0.0.1", "CF-Connecting-IP": "7.7.7.7"}

    assert respond(Actions.address, headers=headers).json == {"ip": None}  # the test client has no address
    forwarded = respond(Actions.address, headers=headers, client_ip_header="X-Forwarded-For")
    assert forwarded.json == {"ip": "10.0.0.1"}
    assert respond(Actions.address, headers=headers, client_ip_header="CF-Connecting-IP").json == {"ip": "7.7.7.7"}


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/orders/", b"{}", "no route matches '/orders/'; the nearest is /orders"),
        ("/orders", b"{", "the body is not valid JSON"),
        ("/orders", b'{"a": 1, "a": 2}', "the body is not valid JSON"),
    ],
)
def test_reason_of_an_error_is_logged_in_development_alone(caplog, path, body, reason):
    caplog.set_level(logging.INFO, "zuplo_origin")

    sent = {"method": "POST", "path": path, "url": "/orders", "headers": JSON, "body": body, "debug": False}
    respond(Actions.read, **sent, environment="production")
    assert not caplog.records
    respond(Actions.read, **sent, environment="local")

    (record,) = caplog.records
    assert record.msg == "request_error" and reason in record.fields["reason"]


@pytest.mark.parametrize("error", [None, HttpException(409), RuntimeError("unhandled")])
def test_scope_of_a_request_ends_with_its_response(monkeypatch, error):
    made = application(Route.get("/x", Actions.scope))
    made.ended = []
    monkeypatch.setattr(Actions, "result", made)
    monkeypatch.setattr(Actions, "error", error)

    made(environ("GET", "/x"), lambda *_: None)

    assert made.ended == ["scope"]


def test_scope_of_a_stream_ends_with_the_stream(monkeypatch):
    made = application(Route.get("/x", Actions.scope_of_a_stream))
    made.ended = []
    monkeypatch.setattr(Actions, "result", made)

    assert request(made, "GET", "/x").body == b"abc"
    assert made.ended == ["a", "b", "c"]

    body = made(environ("GET", "/x"), lambda *_: None)
    body.close()
    assert made.ended == ["a", "b", "c", "a", "scope"]
