"""The request lifecycle: input is read on first use and within limits, and every request gets a response."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from uuid import UUID

import pytest
from masonite.controllers import Controller
from masonite.exceptions import StrictContainerException
from masonite.headers import Header
from masonite.request import Request as MasoniteRequest
from masonite.response import Response as MasoniteResponse
from masonite.routes import Route

from package_tests.support.applications import EchoController, Probe, Silent, application, project_application
from package_tests.support.wsgi_client import call, environ, request
from zuplo_origin.http.application import Application
from zuplo_origin.http.kernel import Provider
from zuplo_origin.http.requests import Request
from zuplo_origin.http.responses import Response

JSON = {"Content-Type": "application/json"}


def echo(action, **options):
    return application(Route.match(["get", "post"], "/x", getattr(EchoController, action)), **options)


def post(body, headers=JSON, path="/x"):
    return request(echo("input"), "POST", path, headers, body)


# -- bodies and queries -----------------------------------------------------------------------------------------------


def test_input_merges_the_query_and_the_json_body():
    response = post(b'{"name": "n", "a": {"b": [1]}}', path="/x?q=1&q=2&name=query")

    assert response.json == {"all": {"q": ["1", "2"], "name": "n", "a": {"b": [1]}}, "name": "n", "deep": [1]}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": %s}' % (b"9" * 5000),
        b"[" * 100_000,
    ],
)
def test_body_that_is_not_strict_json_is_a_bad_request(body):
    response = post(body)

    assert (response.status, response.json) == (400, {"error": "Bad request"})


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", ""])
def test_body_of_another_content_type_is_unsupported(kind):
    response = post(b'{"a": 1}', {"Content-Type": kind})

    assert (response.status, response.json) == (415, {"error": "Unsupported media type"})


def test_body_over_1_mib_is_rejected_by_its_content_length_unread():
    made = environ("POST", "/x", JSON, b"{}")
    made["CONTENT_LENGTH"] = str(1_048_577)
    made["wsgi.input"] = None  # reading it would raise

    response = call(echo("input"), made)

    assert (response.status, response.json) == (413, {"error": "Payload too large"})


def test_body_without_a_content_length_is_read_up_to_the_limit():
    for size, status in ((1_000_000, 200), (1_048_577, 413)):
        made = environ("POST", "/x", JSON, json.dumps({"a": "x" * (size - 9)}).encode())
        del made["CONTENT_LENGTH"]
        made["wsgi.input_terminated"] = True
        assert call(echo("input"), made).status == status


def test_body_shorter_than_its_content_length_is_a_bad_request():
    made = environ("POST", "/x", JSON, b"{}")
    made["CONTENT_LENGTH"] = "100"

    assert call(echo("input"), made).status == 400


def test_body_that_does_not_arrive_does_not_block_other_requests():
    reading, release = threading.Event(), threading.Event()

    class Stalled:
        def read(self, size):
            reading.set()
            release.wait(10)
            return b""

    made, app = environ("POST", "/x", JSON, b"{}"), echo("input")
    made["wsgi.input"] = Stalled()
    stalled = threading.Thread(target=call, args=(app, made))
    stalled.start()
    assert reading.wait(5)
    assert request(app, "POST", "/x", JSON, b'{"name": "n"}').json["name"] == "n"
    assert stalled.is_alive()
    release.set()
    stalled.join()


@pytest.mark.parametrize("error", [OSError, ValueError, TypeError])
def test_body_that_the_server_fails_to_read_is_a_bad_request(error, caplog):
    class Broken:
        def read(self, size):
            raise error("of the server's own")

    made = environ("POST", "/x", JSON, b"{}")
    made["wsgi.input"] = Broken()

    assert call(echo("input"), made).status == 400
    assert caplog.records == []


@pytest.mark.parametrize("length", ["-1", "x", "1.0", "²", "+2"])
def test_content_length_that_is_not_a_number_is_a_bad_request(length):
    made = environ("POST", "/x", JSON, b"{}")
    made["CONTENT_LENGTH"] = length

    assert call(echo("input"), made).status == 400


@pytest.mark.parametrize(("fields", "status"), [(100, 200), (101, 400)])
def test_query_of_more_than_100_fields_is_a_bad_request(fields, status):
    query = "&".join(["a=1"] * fields)

    assert request(echo("input"), "GET", f"/x?{query}").status == status


def test_query_field_with_brackets_is_not_parsed_as_in_masonite_for_minutes():
    assert request(echo("input"), "GET", f"/x?{'a' * 5000}[]=1").status == 200


@pytest.mark.parametrize(
    ("count", "action", "status"), [(50, "cookies", 200), (51, "cookies", 400), (51, "plain", 200)]
)
def test_request_with_more_than_50_cookies_is_a_bad_request_if_the_action_reads_one(count, action, status):
    cookies = {"Cookie": "; ".join(f"c{n}=v" for n in range(count))}

    response = request(echo(action), "GET", "/x", cookies)

    assert response.status == status
    assert action == "plain" or status == 400 or response.json == {"c0": "v"}


def test_invalid_input_is_not_parsed_if_the_action_does_not_read_it():
    made = environ("POST", "/x?" + "a=1&" * 200, {"Cookie": ";" * 5000, **JSON}, b"{")
    made["wsgi.input"] = None

    assert call(echo("plain"), made).status == 200


def test_requests_with_equal_bodies_do_not_share_parsed_values(monkeypatch):
    made = echo("input")
    body = b'{"a": {"b": []}}'
    first = request(made, "POST", "/x", JSON, body)
    assert first.json["deep"] == []
    seen = []

    class Changing(Provider):
        def boot(self, request: MasoniteRequest):
            seen.append(request.input("a.b"))
            seen[-1].append("mine")

    made.add_providers(Changing)
    made.response_handler.__dict__.pop("_booting", None)
    request(made, "POST", "/x", JSON, body)
    request(made, "POST", "/x", JSON, body)

    assert seen == [["mine"], ["mine"]]


# -- headers ----------------------------------------------------------------------------------------------------------


def test_header_is_found_by_its_own_name_only():
    headers = {"Authorization-Id": "a", "HTTP-Authorization": "b", "X-Request-Id": "c", "E-Tag": "d"}

    seen = request(echo("headers"), "GET", "/x", headers).json

    assert seen == {"Authorization": None, "X-Request-Id": "c", "ETag": None, "X-Request": None}


def test_header_bag_keeps_header_names():
    made = Request(environ("GET", "/", {"X-Request-Id": "c", "HTTP-Authorization": "b"}))

    assert made.header_bag.to_dict() == {"Host": "127.0.0.1:8000", "X-Request-Id": "c", "Http-Authorization": "b"}
    assert "Authorization" not in made.header_bag
    assert made.header_bag.get("x-request-id").value == "c"


def test_response_header_replaces_the_default_of_the_same_name():
    response = request(echo("cached"), "GET", "/x")

    assert ("Cache-Control", "max-age=60") in response.header_list
    assert ("Cache-Control", "no-store") not in response.header_list


SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health/live", 200),
        ("HEAD", "/health/live", 200),
        ("GET", "/protected", 401),
        ("GET", "/nowhere", 404),
        ("POST", "/protected", 405),
        ("OPTIONS", "/protected", 204),
        ("GET", "/a%0ab\n", 400),
    ],
)
def test_every_response_has_the_security_headers(method, path, status):
    response = request(project_application(), method, path)

    assert response.status == status
    assert {name: response.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert response.headers["cache-control"] == "no-store"


def test_response_to_an_unhandled_exception_has_the_security_headers():
    response = request(echo("breaks"), "GET", "/x")

    assert response.status == 500
    assert {name: response.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize("value", ["a\x00b", "a\x7f", "\u2028", "\u0100"])
def test_response_header_with_an_invalid_character_raises(value):
    response = Response(None)
    response.header("X-Name", value)
    with pytest.raises(ValueError):
        response.get_headers()


def test_response_header_with_a_line_break_is_not_sent():
    response = request(echo("splits"), "GET", "/x")

    assert (response.status, response.json) == (500, {"error": "Internal server error"})
    assert "x-name" not in response.headers


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["breaks", "nan"])
def test_unhandled_exception_is_one_event_in_the_log_and_not_in_the_response(action, caplog):
    response = request(echo(action), "GET", "/x")

    assert (response.status, response.json) == (500, {"error": "Internal server error"})
    (record,) = caplog.records
    assert (record.getMessage(), record.fields) == ("unhandled_exception", {"method": "GET", "route": "/x"})
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("chunks", "status", "fields"),
    [([], 500, {"method": "GET", "route": "/x"}), (["a"], 200, {"during": "stream"})],
)
def test_unhandled_exception_in_a_stream_is_one_event(monkeypatch, caplog, chunks, status, fields):
    def generate(self):
        yield from chunks
        raise RuntimeError("hunter2")

    generate.__qualname__ = "ReturningController.act"
    monkeypatch.setattr(ReturningController, "act", generate)
    made = application(Route.get("/x", generate))
    statuses = []

    stream = made(environ("GET", "/x"), lambda status, headers: statuses.append(int(status[:3])))
    if status == 200:
        with pytest.raises(RuntimeError):
            list(stream)
        stream.close()

    assert statuses == [status]
    (record,) = caplog.records
    assert (record.getMessage(), record.fields) == ("unhandled_exception", fields)


def test_error_response_contains_nothing_of_the_response_that_it_replaces():
    response = request(echo("half"), "GET", "/x")

    assert (response.status, response.headers["content-type"]) == (500, "application/json; charset=utf-8")
    assert "set-cookie" not in response.headers


def test_error_response_contains_no_header_of_an_earlier_response():
    made = application(Route.get("/x", EchoController.cached), Route.post("/y", EchoController.input))
    assert request(made, "GET", "/x").headers["cache-control"] == "max-age=60"

    response = request(made, "POST", "/y", JSON, b"{bad")

    assert (response.status, response.headers["cache-control"]) == (400, "no-store")


@pytest.mark.parametrize("key", ["silent", "false"])
def test_middleware_that_stops_a_request_without_a_response_is_an_error(key, caplog):
    response = request(application(Route.get("/x", EchoController.plain).middleware(key)), "GET", "/x")

    assert (response.status, response.json) == (500, {"error": "Internal server error"})
    assert "without a response" in caplog.text


def test_action_that_raises_system_exit_is_an_unhandled_exception(caplog):
    def leaves(self):
        raise SystemExit(1)

    EchoController.leaves = leaves
    leaves.__qualname__ = "EchoController.leaves"

    assert request(application(Route.get("/x", EchoController.leaves)), "GET", "/x").status == 500
    assert "SystemExit" in caplog.text


def test_exception_handler_that_raises_is_an_internal_error(caplog):
    made = echo("breaks")

    class Broken:
        def handle(self, exception):
            raise ValueError

    made.bind("exception_handler", Broken())

    assert request(made, "GET", "/x").json == {"error": "Internal server error"}
    assert [record.getMessage() for record in caplog.records] == ["exception_handler_failed"]
    assert "hunter2" in caplog.text  # the exception that it could not handle


def test_exception_with_a_status_is_returned_with_the_phrase_of_that_status():
    from masonite.exceptions import AuthorizationException

    def boot(self):
        raise AuthorizationException("you, hunter2, may not")

    made = echo("plain")
    made.add_providers(type("Rejecting", (Provider,), {"boot": boot}))

    response = request(made, "GET", "/x")
    assert (response.status, response.json) == (403, {"error": "Forbidden"})


# -- responses --------------------------------------------------------------------------------------------------------


class ReturningController(Controller):
    returned = None

    def act(self):
        return self.returned


@pytest.mark.parametrize(
    ("returned", "status", "body"),
    [
        ({"a": 1}, 200, b'{"a":1}'),
        ([1, "b"], 200, b'[1,"b"]'),
        (({"a": 1}, 201), 201, b'{"a":1}'),
        ("text", 200, b"text"),
        (7, 200, b"7"),
    ],
)
def test_return_value_of_an_action_is_the_response(monkeypatch, returned, status, body):
    monkeypatch.setattr(ReturningController, "returned", returned)

    response = request(application(Route.get("/x", ReturningController.act)), "GET", "/x")
    assert (response.status, response.body) == (status, body)
    assert response.headers["content-length"] == str(len(body))


class Odd(Enum):
    NAN = float("nan")
    WORD = "word"


@pytest.mark.parametrize("more", [{}, {"none": None}, {"big": 2**80}])
def test_json_encodes_a_value_alike_with_either_encoder(more):
    value = {"id": UUID(int=1), "kind": Odd.WORD}
    assert json.loads(Response(None).json(value | more)) == {"id": str(UUID(int=1)), "kind": "word"} | more

    with pytest.raises(TypeError):
        Response(None).json({"other": object()} | more)


@pytest.mark.parametrize(
    "value",
    [
        {"big": 2**80, "deep": [[{"a": None}], "é", "\U0001f511"], 'quoted"': '"\\', "half": 0.5, "tiny": 1e-9},
        [],
        {1: "a number as a name"},
    ],
)
def test_json_is_decoded_to_the_value_that_was_encoded(value):
    response = Response(None)

    assert json.loads(response.json(value)) == json.loads(json.dumps(value))
    assert response.header("Content-Length") == str(len(response.get_response_content()))


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        {"a": [float("inf")]},
        {"a": (1, {"b": float("-inf")})},
        {"big": 2**80, "n": float("nan")},
        {"a": Odd.NAN},
    ],
)
def test_json_raises_for_a_nonfinite_number_at_any_depth(value):
    with pytest.raises(ValueError):
        Response(None).json(value)


# -- middleware -------------------------------------------------------------------------------------------------------


def test_middleware_registered_later_replaces_the_earlier_one():
    made = application(Route.get("/x", EchoController.plain).middleware("probe"))
    assert request(made, "GET", "/x").status == 200

    made.make("middleware").add({"probe": [Silent]})
    assert request(made, "GET", "/x").status == 500
    made.make("middleware").remove("probe")
    assert request(made, "GET", "/x").status == 500


def test_middleware_arguments_may_contain_colons_and_at_signs():
    made = application(Route.get("/x", EchoController.plain).middleware("probe:read:orders,a@b"))

    request(made, "GET", "/x?b=from-the-client")

    assert Probe.calls == [("before", "read:orders", "a@b"), ("after", "read:orders", "a@b")]


def test_http_middleware_runs_for_every_request_even_if_no_route_matches():
    made = echo("breaks", http_middleware=[Probe])

    for path in ("/x", "/nope"):
        Probe.calls.clear()
        request(made, "GET", path)
        assert Probe.calls == [("before",), ("after",)]


def test_route_middleware_runs_after_an_action_that_raises():
    made = application(Route.get("/x", EchoController.breaks).middleware("probe"))

    assert request(made, "GET", "/x").status == 500
    assert Probe.calls == [("before",), ("after",)]


# -- bindings ---------------------------------------------------------------------------------------------------------


def test_binding_of_a_request_ends_with_the_request():
    made = echo("plain")
    seen = []

    def boot(self):
        seen.append(self.application.has("mine"))
        self.application.bind("mine", object())

    made.add_providers(type("Binding", (Provider,), {"boot": boot}))
    request(made, "GET", "/x")
    request(made, "GET", "/x")

    assert seen == [False, False]
    assert not made.has("mine")
    assert not made.has("request")


def test_provider_that_is_named_twice_is_registered_once():
    made, registered = echo("plain"), []
    first, second = (
        type(name, (Provider,), {"register": lambda self: registered.append(type(self).__name__)})
        for name in ("First", "Second")
    )

    made.add_providers(first, second, first)

    assert registered == ["First", "Second"]


def test_request_cannot_unbind_an_object_of_the_process():
    made = echo("plain")
    errors = []

    def boot(self):
        try:
            self.application.unbind("router")
        except StrictContainerException as error:
            errors.append(error)

    made.add_providers(type("Unbinding", (Provider,), {"boot": boot}))

    assert request(made, "GET", "/x").status == 200
    assert len(errors) == 1


def test_thread_started_by_a_request_sees_no_request_bindings():
    made = echo("plain")
    seen = []

    def boot(self):
        thread = threading.Thread(target=lambda: seen.append(self.application.has("request")))
        thread.start()
        thread.join()

    made.add_providers(type("Starting", (Provider,), {"boot": boot}))
    request(made, "GET", "/x")

    assert seen == [False]


def test_applications_share_no_bindings():
    first, second = Application("/a"), Application("/b")
    first.bind("x", 1)

    assert not second.has("x")


def test_concurrent_requests_see_their_own_bindings_only():
    def controller_sees(self, request: MasoniteRequest):
        barrier.wait(10)  # until all requests are in progress
        return {"path": request.get_path(), "n": request.param("n"), "made": made.make("request").param("n")}

    EchoController.sees = controller_sees
    controller_sees.__qualname__ = "EchoController.sees"
    barrier = threading.Barrier(16)
    made = application(Route.get("/t/@n", EchoController.sees))

    with ThreadPoolExecutor(16) as pool:
        for _ in range(20):
            responses = list(pool.map(lambda n: request(made, "GET", f"/t/{n}").json, range(16)))
            assert responses == [{"path": f"/t/{n}", "n": str(n), "made": str(n)} for n in range(16)]


def test_cookie_is_httponly_secure_and_samesite_by_default():
    def sets(self, response: MasoniteResponse):
        response.cookie("a", "1")
        response.cookie("b", "2", secure=False)
        response.delete_cookie("c")
        return {}

    EchoController.sets = sets
    sets.__qualname__ = "EchoController.sets"
    response = request(application(Route.get("/x", EchoController.sets)), "GET", "/x")

    deleted, first, second = (value for name, value in response.header_list if name == "Set-Cookie")
    assert first == "a=1;HttpOnly;Secure;Path=/;SameSite=Strict;"
    assert second == "b=2;HttpOnly;Path=/;SameSite=Strict;"
    assert deleted.startswith("c=;") and "Expires=" in deleted


def test_provider_is_booted_for_each_request_if_it_overrides_boot():
    from masonite.providers import Provider as MasoniteProvider

    booted = []

    class Idle(Provider):
        pass

    class IdleOfMasonite(MasoniteProvider):
        pass

    def note(self):
        booted.append(type(self).__bases__[0])

    made = echo("plain")
    for base in (Provider, MasoniteProvider):
        made.add_providers(type("Provider", (base,), {"boot": note, "__qualname__": "Provider"}))
    made.add_providers(Idle, IdleOfMasonite)
    request(made, "GET", "/x")
    request(made, "GET", "/x")

    assert booted == [Provider, MasoniteProvider] * 2
    assert len(made.response_handler._booting) == 2


def test_header_that_middleware_adds_to_the_bag_is_found():
    sent = Request(environ("GET", "/", {"X-Sent": "1", "Content-Type": "text/csv"}))
    sent.header_bag.add(Header("X-Added", "2"))

    assert [sent.header(name) for name in ("x-sent", "X-ADDED", "Content-Type", "X-None")] == [
        "1",
        "2",
        "text/csv",
        None,
    ]
