"""Controllers over HTTP, on the production server and on the development server: reading, returning, raising."""

import http.client
import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from urllib.parse import quote

import pytest

from package_tests.support.clock import poll
from package_tests.support.controllers import Controller, project_with, start, wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.project import copy_of_the_project, serve
from package_tests.support.servers import clean_environment

PROBE = Controller(
    "ProbeController",
    """
import asyncio
import enum
import uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timezone
from decimal import Decimal

from masonite.controllers import Controller
from masonite.exceptions import ThrottleRequestsException
from masonite.request import Request
from masonite.response import Response
from masoniteorm.exceptions import ModelNotFound
from pydantic import BaseModel

from wsgi import application
from zuplo_origin.http import HttpException


class Item(BaseModel):
    sku: str
    price: Decimal = Decimal(0)
    count: int = 1
    tags: list[str] = []


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Total:
    amount: Decimal


class Conflict(Exception):
    is_http_exception = True

    def get_status(self):
        return 409

    def get_response(self):
        return {"conflict": 1}

    def get_headers(self):
        return {"X-Conflict": "1"}


WRONG = {"huge": 10**30, "99": 99, "600": 600, "abc": "abc", "true": True, "minus": -1, "zero": 0, "100": 100}
WRONG["a"] = 20.5
STATUSES = {f"{name}-{how}": value for name, value in WRONG.items() for how in ("set", "raised")}
STATUSES |= {f"{name}-returned": WRONG[name] for name in ("huge", "99", "600", "true", "minus", "100")}


class Odd(BaseException):
    pass


STOPS = {each.__name__: each for each in (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, Odd)}


class StoppingMiddleware:
    def before(self, request, response, kind):
        raise STOPS[kind]("hunter2")

    def after(self, request, response, kind):
        return request


class StoppingLater(StoppingMiddleware):
    def before(self, request, response, kind):
        return request

    def after(self, request, response, kind):
        raise STOPS[kind]("hunter2")


application.make("middleware").add({"before": [StoppingMiddleware], "after": [StoppingLater]})


class ProbeController(Controller):
    def read(self, request: Request):
        return {"all": request.all(), "size": len(request.body()), "ids": request.input("user.addresses.*.id", None)}

    def raw(self, request: Request):
        before = request.body()
        value = request.json() if request.content.is_json else None
        return {"before": len(before), "json": value, "same": request.body() == before}

    def json(self, request: Request):
        return {"json": request.json()}

    def upload(self, request: Request):
        files = [file for value in request.all().values() if isinstance(value, list) for file in value]
        return {"sizes": [file.size for file in files if hasattr(file, "stream")]}

    def typed(self, item: Item):
        return item, 201

    def search(self, item: Item):
        return item

    def param(self, id):
        return {"id": id}

    def number(self, id: int):
        return {"id": id}

    def raises(self, status: int):
        raise HttpException(status, "details", {"Retry-After": "7"})

    def missing(self):
        raise ModelNotFound("secret")

    def throttled(self):
        raise ThrottleRequestsException(headers={"Retry-After": 9})

    def conflict(self):
        raise Conflict("secret")

    def unhandled(self):
        raise RuntimeError("hunter2")

    def values(self):
        return {
            "at": datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
            "day": date(2030, 1, 2),
            "time": time(3, 4),
            "total": Decimal("1.10"),
            "id": uuid.UUID(int=1),
            "colour": Colour.RED,
            "set": {1},
            "dataclass": Total(Decimal("2.0")),
            "model": Item(sku="a"),
        }

    def nothing(self):
        return None

    def status(self, response: Response, case: str):
        value = STATUSES[case]
        if case.endswith("returned"):
            return {}, value
        if case.endswith("raised"):
            raise HttpException(value)
        response.status(value)
        return {}

    def stops(self, kind: str):
        raise STOPS[kind]("hunter2")

    def stops_stream(self, response: Response, kind: str, sent: int):
        def chunks():
            for _ in range(sent):
                yield "x"
            raise STOPS[kind]("hunter2")

        return response.stream(chunks())

    def rows(self):
        yield "a,b\\n"
        yield "1,2\\n"

    def claim(self, request: Request):
        return {"sub": request.claim("sub"), "roles": request.claim("realm_access.roles", [])}
""",
    """[
    *(Route.match([method], "/read", ProbeController.read).middleware("public") for method in ("POST", "PUT", "PATCH")),
    Route.post("/raw", ProbeController.raw).middleware("public"),
    Route.post("/json", ProbeController.json).middleware("public"),
    Route.post("/large", ProbeController.raw).middleware("public", "body:3MB"),
    Route.post("/small", ProbeController.raw).middleware("public", "body:1KB"),
    Route.post("/upload", ProbeController.upload).middleware("public", "body:3MB"),
    Route.post("/typed", ProbeController.typed).middleware("public"),
    Route.get("/search", ProbeController.search).middleware("public"),
    Route.get("/items/@id", ProbeController.param).middleware("public"),
    Route.get("/numbers/@id:int", ProbeController.number).middleware("public"),
    Route.get("/raises/@status:int", ProbeController.raises).middleware("public"),
    Route.get("/missing", ProbeController.missing).middleware("public"),
    Route.get("/throttled", ProbeController.throttled).middleware("public"),
    Route.get("/conflict", ProbeController.conflict).middleware("public"),
    Route.get("/unhandled", ProbeController.unhandled).middleware("public"),
    Route.get("/values", ProbeController.values).middleware("public"),
    Route.get("/nothing", ProbeController.nothing).middleware("public"),
    Route.get("/status/@case", ProbeController.status).middleware("public"),
    Route.get("/stops/@kind", ProbeController.stops).middleware("public"),
    Route.get("/stops/stream/@kind/@sent:int", ProbeController.stops_stream).middleware("public"),
    Route.get("/rows", ProbeController.rows).middleware("public"),
    Route.get("/claim", ProbeController.claim).middleware("jwt"),
    Route.get("/open", ProbeController.nothing),
    *(
        Route.get(f"/{when}/{kind}", ProbeController.values).middleware("public", f"{when}:{kind}")
        for when in ("before", "after")
        for kind in ("KeyboardInterrupt", "SystemExit", "GeneratorExit", "CancelledError", "Odd")
    ),
    Route.get("/@rest:any", ProbeController.param).middleware("public"),
]""",
)
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
DEEP = b'{"a":' * 40 + b"1" + b"}" * 40


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Both servers of one project, and the issuer that they accept."""
    project, issuer = project_with(PROBE, tmp_path_factory.mktemp("project")), Issuer()
    logs = tmp_path_factory.mktemp("logs")
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "METRICS_ENABLED": "True"}
    with ExitStack() as stack:
        stack.callback(issuer.close)
        servers = {
            "production": start(project, logs / "production", WEB_CONCURRENCY="1", **settings),
            "development": serve(
                project, logs / "development", "--dont-reload", APP_ENV="local", APP_DEBUG="True", **settings
            ),
        }
        for server in servers.values():
            stack.enter_context(server)
        wait_until(lambda: "server_ready" in servers["production"].output())
        yield servers, issuer


@pytest.fixture(params=["production", "development"])
def server(request, servers):
    return servers[0][request.param]


def send(server, method, path, content_type=None, body=None, **headers):
    """Send a request, and return status, headers, and the body, parsed if it is JSON."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent |= {"Content-Type": content_type} if content_type is not None else {}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        content, found = response.read(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()
    if found.get("content-type", "").startswith("application/json") and content:
        return response.status, found, json.loads(content)
    return response.status, found, content


def part(name, value=b"x", filename=None, more=b""):
    named = f'; filename="{filename}"' if filename is not None else ""
    return (
        f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n'.encode() + more + b"\r\n" + value + b"\r\n"
    )


END = b"--b--\r\n"
READ = {
    "JSON": (JSON, b'{"a": 1}', 200, {"a": 1}),
    "merge patch": ("application/merge-patch+json", b'{"a": null}', 200, {"a": None}),
    "JSON patch, an array": ("application/json-patch+json; charset=utf-8", b'[{"op": "add"}]', 200, {}),
    "JSON:API": ("application/vnd.api+json", b'{"data": []}', 200, {"data": []}),
    "upper case": ("APPLICATION/JSON", b'{"a": 1}', 200, {"a": 1}),
    "odd parameters": ('application/json ; CHARSET="UTF-8"; x="a;b"', b'{"a": 1}', 200, {"a": 1}),
    "a parameter without a value": ("application/json; charset", b'{"a": 1}', 200, {"a": 1}),
    "an array": (JSON, b"[1]", 200, {}),
    "a huge integer": (JSON, b'{"a": ' + b"9" * 400 + b"}", 200, {"a": int("9" * 400)}),
    "an integer of 5,000 digits": (JSON, b'{"a": ' + b"9" * 5000 + b"}", 400, None),
    "an empty JSON body": (JSON, b"", 200, {}),
    "deep JSON": (JSON, DEEP, 200, json.loads(DEEP)),
    "very deep JSON": (JSON, b"[" * 100_000 + b"]" * 100_000, 400, None),
    "no JSON": (JSON, b"{", 400, None),
    "a member twice": (JSON, b'{"a": 1, "a": 2}', 400, None),
    "NaN": (JSON, b'{"a": NaN}', 400, None),
    "1e999": (JSON, b'{"a": 1e999}', 400, None),
    "a lone surrogate": (JSON, b'{"a": "\\ud800"}', 400, None),
    "invalid UTF-8": (JSON, b'{"a": "\xff"}', 400, None),
    "UTF-16": (JSON, '{"a": 1}'.encode("utf-16"), 400, None),
    "a form": (FORM, b"a=1&b=2&b=3&c[d]=4&e[]=5", 200, {"a": "1", "b": ["2", "3"], "c": {"d": "4"}, "e": ["5"]}),
    "a form with a charset": (FORM + "; charset=latin-1", b"a=%C3%A9", 200, {"a": "\u00e9"}),
    "a form with invalid UTF-8": (FORM, b"a=%FF", 400, None),
    "a form with 10,000 fields": (FORM, b"&".join(b"f%d=1" % each for each in range(10_000)), 400, None),
    "a form nested 100 deep": (FORM, b"a" + b"[b]" * 100 + b"=1", 400, None),
    "a form with a value and an object": (FORM, b"a=1&a[b]=2", 400, None),
    "a form with broken brackets": (
        FORM,
        b"a[=1&]b[=2&a[b=3&[]=4",
        200,
        {"a[": "1", "]b[": "2", "a[b": "3", "[]": "4"},
    ),
    "an empty form": (FORM, b"", 200, {}),
    "multipart": (MULTIPART, part("a") + part("c[d]", b"4") + END, 200, {"a": "x", "c": {"d": "4"}}),
    "multipart with a quoted boundary": ('multipart/form-data; boundary="b"', part("a") + END, 200, {"a": "x"}),
    "multipart with another boundary": ("multipart/form-data; boundary=c", part("a") + END, 400, None),
    "multipart without a boundary": ("multipart/form-data", part("a") + END, 400, None),
    "multipart with an empty boundary": ("multipart/form-data; boundary=", part("a") + END, 400, None),
    "multipart with a boundary of 100 characters": (
        f"multipart/form-data; boundary={'b' * 100}",
        part("a") + END,
        400,
        None,
    ),
    "multipart without an end": (MULTIPART, part("a"), 400, None),
    "multipart cut in a header": (MULTIPART, b"--b\r\nContent-Dispo", 400, None),
    "multipart without a name": (MULTIPART, b"--b\r\nX: y\r\n\r\nx\r\n" + END, 400, None),
    "multipart with a broken name": (MULTIPART, part("x\\") + END, 400, None),
    "multipart with a file without a name": (
        MULTIPART,
        b'--b\r\nContent-Disposition: form-data; filename="x"\r\n\r\nx\r\n' + END,
        400,
        None,
    ),
    "multipart with 2,000 parts": (MULTIPART, part("a") * 2000 + END, 413, None),
    "multipart with a charset": (
        MULTIPART,
        part("a", b"\xe9", more=b"Content-Type: text/plain; charset=x-no\r\n") + END,
        200,
        None,
    ),
    "an empty multipart body": (MULTIPART, b"", 400, None),
    "CSV": ("text/csv", b"a,b\n1,2\n", 415, None),
    "XML": ("application/xml", b"<a/>", 415, None),
    "no type": ("", b"a=1", 415, None),
    "a broken type": ("json", b"{}", 415, None),
    "only a slash": ("/", b"{}", 415, None),
}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("case", READ)
def test_body_is_read_or_rejected(server, case, method):
    content_type, body, status, fields = READ[case]

    found, _, response = send(server, method, "/read", content_type, body)

    assert found == status, response
    if fields is not None:
        assert (response["all"], response["size"]) == (fields, len(body))
    elif status != 200:
        assert set(response) <= {"error", "details"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PUT", "TRACE"])
@pytest.mark.parametrize("path", ["/read", "/json", "/upload", "/typed"])
def test_other_methods_of_a_route_with_a_body_are_responded_to(server, method, path):
    allowed = {"OPTIONS": 204, "PUT": 200 if path == "/read" else 405}.get(method, 405)

    status, headers, _ = send(server, method, path, JSON, b"{}" if method == "PUT" else None)

    # the fallback matches GET and HEAD of every path
    assert status == (200 if method in ("GET", "HEAD") else allowed)
    assert status != 405 or "POST" in headers["allow"]


@pytest.mark.parametrize("coding", ["gzip", "br", "x-unknown", "gzip, identity"])
def test_content_coding_is_415(server, coding):
    for path in ("/read", "/json", "/typed", "/upload"):
        assert send(server, "POST", path, JSON, b"\x1f\x8b", Content_Encoding=coding)[0] == 415


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/csv", b"a,b\n" * 1000), ("application/xml", b"<a/>"), ("", b"\x00\xff"), (JSON, b'{"a": 1}')],
)
def test_bytes_of_any_type_are_read_as_often_as_wanted(server, content_type, body):
    status, _, response = send(server, "POST", "/raw", content_type, body)

    expected = {"before": len(body), "json": json.loads(body) if content_type == JSON else None, "same": True}
    assert (status, response) == (200, expected)


@pytest.mark.parametrize(("path", "limit"), [("/small", 1024), ("/raw", 1_048_576), ("/large", 3 * 1_048_576)])
def test_route_has_its_own_limit(server, path, limit):
    assert send(server, "POST", path, "text/plain", b"x" * limit)[0] == 200

    status, _, response = send(server, "POST", path, "text/plain", iter([b"x" * (limit + 1)]))
    assert (status, response) == (413, {"error": "Payload too large"})


def test_upload_above_a_mebibyte_is_read(server):
    body = part("file", b"x" * 2_000_000, "../../a.csv") + part("file", b"y", "b") + part("empty", b"", "c") + END

    assert send(server, "POST", "/upload", MULTIPART, body)[2] == {"sizes": [2_000_000, 1, 0]}


def test_wildcard_path_is_a_list(server):
    body = json.dumps({"user": {"addresses": [{"id": 1}, {"id": 2}]}})

    assert send(server, "POST", "/read", JSON, body)[2]["ids"] == [1, 2]


@pytest.mark.parametrize(
    ("content_type", "body", "fields"),
    [
        (JSON, b'{"price": "x", "count": 1.5}', ["sku", "price", "count"]),
        (JSON, b"[]", [""]),
        (JSON, b"null", [""]),
        (JSON, b"1e400", None),
        (JSON, b"", None),
        (JSON, b'{"sku": "a", "price": 1e400}', None),
        (JSON, b'{"sku": "a", "tags": [1, {}]}', ["tags.0", "tags.1"]),
        (FORM, b"count=x", ["sku", "count"]),
        (MULTIPART, part("sku", b"x", "file") + END, ["sku"]),
        ("text/csv", b"a", None),
    ],
)
def test_invalid_model_is_422_with_every_fault_and_other_bodies_are_4xx(server, content_type, body, fields):
    status, _, response = send(server, "POST", "/typed", content_type, body)

    if fields is None:
        assert 400 <= status < 500
    else:
        assert (status, response["error"]) == (422, "Validation failed")
        assert [each["field"] for each in response["details"]] == fields


def test_model_is_read_from_json_a_form_and_the_query(server):
    expected = {"sku": "a", "price": "1.10", "count": 2, "tags": ["x", "y"]}
    large = int("9" * 400)
    body = b'{"sku": "a", "price": 1.10, "count": 2, "tags": ["x", "y"]}'

    assert send(server, "POST", "/typed", JSON, body)[0::2] == (201, expected)
    assert send(server, "POST", "/typed", FORM, b"sku=a&price=1.10&count=2&tags=x&tags=y")[0::2] == (201, expected)
    assert send(server, "GET", "/search?sku=a&price=1.10&count=2&tags=x&tags=y")[0::2] == (200, expected)
    assert send(server, "GET", "/search?count=x")[0] == 422
    assert send(server, "POST", "/typed", JSON, b'{"sku": "a", "count": %d}' % large)[2]["count"] == large


@pytest.mark.parametrize("status", [402, 409, 410, 418, 422, 429, 451, 500, 503])
def test_raised_status_is_sent_with_details_and_headers(server, status):
    found, headers, response = send(server, "GET", f"/raises/{status}")

    assert (found, response["details"], headers["retry-after"]) == (status, "details", "7")


@pytest.mark.parametrize(
    ("path", "status", "header"),
    [("/missing", 404, None), ("/throttled", 429, ("retry-after", "9")), ("/conflict", 409, ("x-conflict", "1"))],
)
def test_exceptions_with_masonites_protocol_have_their_status(server, path, status, header):
    found, headers, response = send(server, "GET", path)

    assert found == status and "secret" not in json.dumps(response)
    assert header is None or headers[header[0]] == header[1]


def test_values_are_returned_as_json(server):
    assert send(server, "GET", "/values")[2] == {
        "at": "2030-01-02T03:04:05Z",
        "day": "2030-01-02",
        "time": "03:04:00",
        "total": "1.10",
        "id": "00000000-0000-0000-0000-000000000001",
        "colour": "red",
        "set": [1],
        "dataclass": {"amount": "2.0"},
        "model": {"sku": "a", "price": "0", "count": 1, "tags": []},
    }
    assert send(server, "GET", "/nothing")[0::2] == (204, b"")
    assert send(server, "GET", "/rows")[0::2] == (200, b"a,b\n1,2\n")
    assert send(server, "HEAD", "/rows")[0::2] == (200, b"")


@pytest.mark.parametrize(
    "name",
    [
        "me@example.com",
        "auth0|123",
        "urn:uuid:1",
        "a b",
        "a+b,c=d~e",
        "\u00e9",
        "..%",
        "%2F"[1:],
        "a;b",
        "<b>",
        "'\"",
        "@x",
    ],
)
def test_parameter_matches_anything_but_a_slash(server, name):
    assert send(server, "GET", f"/items/{quote(name, safe='')}")[0::2] == (200, {"id": name})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/items/a%00b", 400),
        ("/items/%0a", 400),
        ("/items/%7f", 400),
        ("/items/%ff", 400),
        ("/items/%c3", 400),
        ("/items/%ed%a0%80", 400),
        ("/items/a%252Fb", 200),
        ("/items/%zz", 200),
        ("/numbers/1_0", 404),
        ("/numbers/-1", 404),
        ("/numbers/%D9%A1", 404),
        ("/numbers/" + "9" * 5000, 404),
    ],
)
def test_odd_path_is_responded_to(server, path, status):
    found, _, response = send(server, "GET", path)

    # the fallback takes the paths that no other route matches
    assert found == (200 if status == 404 else status)
    assert found != 400 or response == {"error": "Bad request"}


def test_encoded_slash_is_the_same_on_both_servers(servers):
    production, development = (send(server, "GET", "/items/a%2Fb")[0::2] for server in servers[0].values())

    assert production == development


def test_fallback_does_not_replace_later_routes(server):
    assert b"http_requests_total" in send(server, "GET", "/metrics")[2]
    assert send(server, "GET", "/some/other/path")[2] == {"id": "some/other/path"}


def test_token_without_sub_is_served(servers, server):
    token = servers[1].token(sub=None, realm_access={"roles": ["admin"]})

    status, _, response = send(server, "GET", "/claim", Authorization=f"Bearer {token}")
    assert (status, response) == (200, {"sub": None, "roles": ["admin"]})


def test_unhandled_exception_is_described_in_development_alone(servers):
    production, development = (send(server, "GET", "/unhandled") for server in servers[0].values())

    assert production[0::2] == (500, {"error": "Internal server error"})
    assert development[2]["exception"]["message"] == "hunter2"
    assert development[2]["exception"]["frames"][-1]["file"] == "app/controllers/ProbeController.py"


WRONG_STATUSES = {
    "huge": "1000000000000000000000000000000",
    "99": "99",
    "600": "600",
    "abc": "'abc'",
    "true": "True",
    "minus": "-1",
    "zero": "0",
    "100": "100",
    "a": "20.5",
}


@pytest.mark.parametrize(
    "case",
    [f"{name}-{how}" for name in WRONG_STATUSES for how in ("set", "raised")]
    + [f"{name}-returned" for name in ("huge", "99", "600", "true", "minus", "100")],
)
def test_status_that_http_does_not_have_is_500_and_named_in_the_log(server, case):
    status, headers, response = send(server, "GET", f"/status/{case}")

    assert (status, response["error"]) == (500, "Internal server error")
    assert headers["x-content-type-options"] == "nosniff"
    subject = "HttpException" if case.endswith("raised") else "a response"
    poll(lambda: f"the status of {subject} is {WRONG_STATUSES[case.partition('-')[0]]}; expected" in server.output())


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit", "GeneratorExit", "CancelledError", "Odd"])
@pytest.mark.parametrize("path", ["/stops/{}", "/stops/stream/{}/0", "/before/{}", "/after/{}"])
def test_exception_that_is_meant_for_the_process_is_a_logged_500_and_the_server_goes_on(server, kind, path):
    before = server.output().count(f"{kind}: hunter2")

    status, _, response = send(server, "GET", path.format(kind))

    assert (status, response["error"]) == (500, "Internal server error")
    poll(lambda: server.output().count(f"{kind}: hunter2") > before)
    assert send(server, "GET", "/values")[0] == 200


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit", "GeneratorExit", "Odd"])
def test_stream_that_stops_with_such_an_exception_is_broken_and_logged(servers, kind):
    server = servers[0]["production"]
    before = server.output().count(f"{kind}: hunter2")

    with pytest.raises(http.client.IncompleteRead):
        send(server, "GET", f"/stops/stream/{kind}/1")

    poll(lambda: server.output().count(f"{kind}: hunter2") > before)
    assert send(server, "GET", "/values")[0] == 200


FRAMING = {
    "chunked": (b"Transfer-Encoding: Chunked\r\n", 200, 200),
    "gzip, chunked": (b"Transfer-Encoding: gzip, chunked\r\n", 501, 501),
    "two lines": (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501, 501),
    "chunked, chunked": (b"Transfer-Encoding: chunked, chunked\r\n", 400, 400),
    "chunked, gzip": (b"Transfer-Encoding: chunked, gzip\r\n", 400, 400),
    "identity": (b"Transfer-Encoding: identity\r\n", 400, 400),
    "identity and a length": (b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n", 400, 400),
    "an empty coding": (b"Transfer-Encoding:\r\n", 400, 400),
    "an unknown coding": (b"Transfer-Encoding: xchunked\r\n", 400, 400),
    # granian removes Content-Length: the body ends as Transfer-Encoding says (RFC 9112, section 6.3)
    "length 0 and chunked": (b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 200, 400),
    "chunked and length 0": (b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 200, 400),
    "length 5 and chunked": (b"content-length: 5\r\ntransfer-encoding: CHUNKED\r\n", 200, 400),
    "two lengths": (b"Content-Length: 2\r\nContent-Length: 3\r\n", 400, 400),
    "a list of lengths": (b"Content-Length: 2, 2\r\n", 400, 400),
    "a signed length": (b"Content-Length: +2\r\n", 400, 400),
    "a negative length": (b"Content-Length: -1\r\n", 400, 400),
    "no number": (b"Content-Length: abc\r\n", 400, 400),
    "an empty length": (b"Content-Length:\r\n", 400, 400),
}


@pytest.mark.parametrize("case", FRAMING)
@pytest.mark.parametrize("kind", ["production", "development"])
def test_request_whose_body_has_no_certain_end_is_rejected_at_once(servers, kind, case):
    fields, *expected = FRAMING[case]
    server = servers[0][kind]
    lines = f"POST /raw HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: text/plain\r\nConnection: close\r\n"

    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(lines.encode() + fields + b"\r\n2\r\n{}\r\n0\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()

    assert response.status == expected[kind == "development"]


def test_reason_of_an_error_is_in_the_log_of_development_alone(servers):
    production, development = servers[0].values()
    for server in (production, development):
        send(server, "POST", "/read", JSON, b'{"twice": 1, "twice": 2}')
        send(server, "POST", "/reed", JSON, b"{}")

    reasons = (
        "the body is not valid JSON: duplicate",
        "'/reed' has GET, HEAD, OPTIONS, not POST; the nearest is /read",
    )
    poll(lambda: all(reason in development.output() for reason in reasons))
    assert "request_error" not in production.output()


def test_routes_that_are_neither_guarded_nor_public_are_named_at_start(server):
    poll(lambda: "GET /open" in server.output())
    assert "/read" not in "".join(line for line in server.output().splitlines() if "open_routes" in line)


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ('Route.get("/a/{id}", ProtectedController.show)', "a parameter is spelled @id"),
        ('Route.get("/a", ProtectedController.show).middleware("jwt:@user")', "remove the @"),
        ('Route.get("/protected", ProtectedController.show)', "GET /protected and GET /protected are the same route"),
    ],
)
def test_invalid_route_stops_the_start(tmp_path, route, message):
    project = copy_of_the_project(tmp_path)
    with open(project / "routes/web.py", "a") as routes:
        routes.write(f"\nROUTES += [{route}]\n")

    command = [sys.executable, "-c", "import wsgi"]
    settings = {"JWT_ISSUER": "https://a.test", "JWT_AUDIENCE": "*"}
    ended = subprocess.run(command, cwd=project, env=clean_environment(**settings), capture_output=True, text=True)
    assert ended.returncode != 0 and message in ended.stderr.splitlines()[-1]
