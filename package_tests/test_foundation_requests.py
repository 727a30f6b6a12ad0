"""Requests: read late, within limits, and answered in every case."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from uuid import UUID

import pytest
from masonite.controllers import Controller
from masonite.exceptions import StrictContainerException
from masonite.request import Request as MasoniteRequest
from masonite.response import Response as MasoniteResponse
from masonite.routes import Route

from package_tests.support.applications import EchoController, Probe, Silent, application, project_application
from package_tests.support.wsgi_client import call, environ, request
from zuplo_origin.http.container import Application
from zuplo_origin.http.handler import Provider
from zuplo_origin.http.responses import Response

JSON = {"Content-Type": "application/json"}


def echo(action, **options):
    return application(Route.match(["get", "post"], "/x", getattr(EchoController, action)), **options)


def post(body, headers=JSON, path="/x"):
    return request(echo("input"), "POST", path, headers, body)


# -- bodies and queries -----------------------------------------------------------------------------------------------


def test_query_and_json_body_are_read_as_one_mapping():
    answer = post(b'{"name": "n", "a": {"b": [1]}}', path="/x?q=1&q=2&name=query")

    assert answer.json == {"all": {"q": ["1", "2"], "name": "n", "a": {"b": [1]}}, "name": "n", "deep": [1]}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b"1",
        b'"x"',
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
def test_a_broken_body_is_a_bad_request(body):
    answer = post(body)

    assert (answer.status, answer.json) == (400, {"error": "Bad request"})


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_of_another_type_is_not_read(kind):
    answer = post(b'{"a": 1}', {"Content-Type": kind})

    assert (answer.status, answer.json) == (415, {"error": "Unsupported media type"})


def test_a_body_over_a_mebibyte_is_refused_by_its_stated_length_alone():
    made = environ("POST", "/x", JSON, b"{}")
    made["CONTENT_LENGTH"] = str(1_048_577)
    made["wsgi.input"] = None  # reading it would break

    answer = call(echo("input"), made)

    assert (answer.status, answer.json) == (413, {"error": "Payload too large"})


def test_a_body_without_a_stated_length_is_read_up_to_the_limit():
    for size, status in ((1_000_000, 200), (1_048_577, 413)):
        made = environ("POST", "/x", JSON, json.dumps({"a": "x" * (size - 9)}).encode())
        del made["CONTENT_LENGTH"]
        made["wsgi.input_terminated"] = True
        assert call(echo("input"), made).status == status


def test_a_body_that_ends_early_is_a_bad_request():
    made = environ("POST", "/x", JSON, b"{}")
    made["CONTENT_LENGTH"] = "100"

    assert call(echo("input"), made).status == 400


def test_one_body_that_does_not_arrive_holds_up_no_other_request():
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
def test_a_body_that_the_server_cannot_read_is_a_bad_request(error, caplog):
    class Broken:
        def read(self, size):
            raise error("of the server's own")

    made = environ("POST", "/x", JSON, b"{}")
    made["wsgi.input"] = Broken()

    assert call(echo("input"), made).status == 400
    assert [record for record in caplog.records if record.name == "app"] == []


@pytest.mark.parametrize("length", ["-1", "x", "1.0", "²", "+2"])
def test_a_length_that_is_no_number_is_a_bad_request(length):
    made = environ("POST", "/x", JSON, b"{}")
    made["CONTENT_LENGTH"] = length

    assert call(echo("input"), made).status == 400


def test_a_query_of_many_fields_is_a_bad_request():
    assert request(echo("input"), "GET", "/x?" + "a=1&" * 101).status == 400


def test_a_query_that_keeps_a_stock_worker_busy_for_minutes_is_read_at_once():
    assert request(echo("input"), "GET", f"/x?{'a' * 5000}[]=1").status == 200


def test_many_cookies_are_refused_where_somebody_asks_for_them():
    cookies = {"Cookie": "; ".join(f"c{n}=v" for n in range(1000))}

    assert request(echo("cookies"), "GET", "/x", cookies).status == 400
    assert request(echo("plain"), "GET", "/x", cookies).status == 200
    assert request(echo("cookies"), "GET", "/x", {"Cookie": "c0=v"}).json == {"c0": "v"}


def test_nothing_of_a_client_is_parsed_where_nobody_asks():
    made = environ("POST", "/x?" + "a=1&" * 200, {"Cookie": ";" * 5000, **JSON}, b"{")
    made["wsgi.input"] = None

    assert call(echo("plain"), made).status == 200


def test_an_equal_body_of_two_requests_gives_two_values(monkeypatch):
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


def test_header_names_are_not_folded_into_others():
    headers = {"Authorization-Id": "a", "HTTP-Authorization": "b", "X-Request-Id": "c", "E-Tag": "d"}

    seen = request(echo("headers"), "GET", "/x", headers).json

    assert seen == {"Authorization": None, "X-Request-Id": "c", "ETag": None, "X-Request": None}


def test_the_bag_of_headers_tells_the_same():
    from zuplo_origin.http.requests import Request

    made = Request(environ("GET", "/", {"X-Request-Id": "c", "HTTP-Authorization": "b"}))

    assert made.header_bag.to_dict() == {"Host": "127.0.0.1:8000", "X-Request-Id": "c", "Http-Authorization": "b"}
    assert "Authorization" not in made.header_bag
    assert made.header_bag.get("x-request-id").value == "c"


def test_response_headers_keep_their_names():
    answer = request(echo("cached"), "GET", "/x")

    assert ("Cache-Control", "max-age=60") in answer.header_list
    assert ("Cache-Control", "no-store") not in answer.header_list


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
def test_every_answer_carries_the_security_headers(method, path, status):
    answer = request(project_application(), method, path)

    assert answer.status == status
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert answer.headers["cache-control"] == "no-store"


def test_a_mistake_of_the_application_carries_them_too():
    answer = request(echo("breaks"), "GET", "/x")

    assert answer.status == 500
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize("value", ["a\x00b", "a\x7f", "\u2028", "\u0100"])
def test_a_header_holds_what_headers_may_hold(value):
    response = Response(None)
    response.header("X-Name", value)
    with pytest.raises(ValueError):
        response.get_headers()


def test_a_response_cannot_be_split():
    answer = request(echo("splits"), "GET", "/x")

    assert (answer.status, answer.json) == (500, {"error": "Internal server error"})
    assert "x-name" not in answer.headers


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["breaks", "nothing", "nan"])
def test_a_mistake_is_told_to_the_log_and_not_to_the_client(action, caplog):
    answer = request(echo(action), "GET", "/x")

    assert (answer.status, answer.json) == (500, {"error": "Internal server error"})
    assert "the application broke" in caplog.text and "Traceback" in caplog.text


def test_an_error_is_answered_with_nothing_of_what_had_been_begun():
    answer = request(echo("half"), "GET", "/x")

    assert (answer.status, answer.headers["content-type"]) == (500, "application/json; charset=utf-8")
    assert "set-cookie" not in answer.headers


def test_a_broken_request_is_not_answered_with_an_earlier_one():
    made = application(Route.get("/x", EchoController.cached), Route.post("/y", EchoController.input))
    assert request(made, "GET", "/x").headers["cache-control"] == "max-age=60"

    answer = request(made, "POST", "/y", JSON, b"{bad")

    assert (answer.status, answer.headers["cache-control"]) == (400, "no-store")


@pytest.mark.parametrize("key", ["silent", "false"])
def test_a_middleware_that_says_nothing_is_answered_for(key, caplog):
    answer = request(application(Route.get("/x", EchoController.plain).middleware(key)), "GET", "/x")

    assert (answer.status, answer.json) == (500, {"error": "Internal server error"})
    assert "without an answer" in caplog.text


def test_an_action_that_would_end_the_process_is_answered_for(caplog):
    def leaves(self):
        raise SystemExit(1)

    EchoController.leaves = leaves
    leaves.__qualname__ = "EchoController.leaves"

    assert request(application(Route.get("/x", EchoController.leaves)), "GET", "/x").status == 500
    assert "SystemExit" in caplog.text


def test_an_exception_handler_that_breaks_is_answered_for(caplog):
    made = echo("breaks")

    class Broken:
        def handle(self, exception):
            raise ValueError

    made.bind("exception_handler", Broken())

    assert request(made, "GET", "/x").json == {"error": "Internal server error"}
    assert "the exception handler failed" in caplog.text


def test_a_status_of_an_exception_is_answered_with_its_own_phrase_alone():
    from masonite.exceptions import AuthorizationException

    def boot(self):
        raise AuthorizationException("you, hunter2, may not")

    made = echo("plain")
    made.add_providers(type("Refusing", (Provider,), {"boot": boot}))

    answer = request(made, "GET", "/x")
    assert (answer.status, answer.json) == (403, {"error": "Forbidden"})


# -- answers ----------------------------------------------------------------------------------------------------------


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
def test_what_an_action_returns_is_the_answer(monkeypatch, returned, status, body):
    monkeypatch.setattr(ReturningController, "returned", returned)

    answer = request(application(Route.get("/x", ReturningController.act)), "GET", "/x")
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["content-length"] == str(len(body))


class Odd(Enum):
    NAN = float("nan")
    WORD = "word"


@pytest.mark.parametrize("more", [{}, {"none": None}, {"big": 2**80}])
def test_what_is_written_does_not_depend_on_what_stands_beside_it(more):
    value = {"id": UUID(int=1), "kind": Odd.WORD}
    assert json.loads(Response(None).json(value | more)) == {"id": str(UUID(int=1)), "kind": "word"} | more

    for other in (datetime.now(timezone.utc), Point(1)):
        with pytest.raises(TypeError):
            Response(None).json({"other": other} | more)


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    "value",
    [
        {"big": 2**80, "deep": [[{"a": None}], "é", "\U0001f511"], 'quoted"': '"\\', "half": 0.5, "tiny": 1e-9},
        [],
        {1: "a number as a name"},
    ],
)
def test_json_says_what_was_given(value):
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
def test_what_json_has_no_number_for_is_an_error_wherever_it_stands(value):
    with pytest.raises(ValueError):
        Response(None).json(value)


# -- middleware -------------------------------------------------------------------------------------------------------


def test_a_middleware_that_is_registered_again_is_the_one_that_runs():
    made = application(Route.get("/x", EchoController.plain).middleware("probe"))
    assert request(made, "GET", "/x").status == 200

    made.make("middleware").add({"probe": [Silent]})
    assert request(made, "GET", "/x").status == 500
    made.make("middleware").remove("probe")
    assert request(made, "GET", "/x").status == 500


def test_arguments_of_a_middleware_hold_colons_and_at_signs_as_they_stand():
    made = application(Route.get("/x", EchoController.plain).middleware("probe:read:orders,a@b"))

    request(made, "GET", "/x?b=from-the-client")

    assert Probe.calls == [("before", "read:orders", "a@b"), ("after", "read:orders", "a@b")]


def test_http_middleware_runs_for_every_request_whether_it_has_a_route_or_not():
    made = echo("breaks", http_middleware=[Probe])

    for path in ("/x", "/nope"):
        Probe.calls.clear()
        request(made, "GET", path)
        assert Probe.calls == [("before",), ("after",)]


def test_route_middleware_runs_afterwards_even_where_the_action_breaks():
    made = application(Route.get("/x", EchoController.breaks).middleware("probe"))

    assert request(made, "GET", "/x").status == 500
    assert Probe.calls == [("before",), ("after",)]


# -- bindings ---------------------------------------------------------------------------------------------------------


def test_what_a_request_binds_is_gone_with_it():
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


def test_a_request_cannot_unbind_for_others():
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


def test_a_thread_that_a_request_starts_does_not_see_another_requests_bindings():
    made = echo("plain")
    seen = []

    def boot(self):
        thread = threading.Thread(target=lambda: seen.append(self.application.has("request")))
        thread.start()
        thread.join()

    made.add_providers(type("Starting", (Provider,), {"boot": boot}))
    request(made, "GET", "/x")

    assert seen == [False]


def test_two_applications_share_no_bindings():
    first, second = Application("/a"), Application("/b")
    first.bind("x", 1)

    assert not second.has("x")


def test_requests_on_many_threads_see_their_own_bindings_alone():
    def controller_sees(self, request: MasoniteRequest):
        barrier.wait(10)  # every request is under way at once
        return {"path": request.get_path(), "n": request.param("n"), "made": made.make("request").param("n")}

    EchoController.sees = controller_sees
    controller_sees.__qualname__ = "EchoController.sees"
    barrier = threading.Barrier(16)
    made = application(Route.get("/t/@n", EchoController.sees))

    with ThreadPoolExecutor(16) as pool:
        for _ in range(20):
            answers = list(pool.map(lambda n: request(made, "GET", f"/t/{n}").json, range(16)))
            assert answers == [{"path": f"/t/{n}", "n": str(n), "made": str(n)} for n in range(16)]


def test_cookies_are_set_with_care_unless_told_otherwise():
    def sets(self, response: MasoniteResponse):
        response.cookie("a", "1")
        response.cookie("b", "2", secure=False)
        response.delete_cookie("c")
        return {}

    EchoController.sets = sets
    sets.__qualname__ = "EchoController.sets"
    answer = request(application(Route.get("/x", EchoController.sets)), "GET", "/x")

    deleted, first, second = (value for name, value in answer.header_list if name == "Set-Cookie")
    assert first == "a=1;HttpOnly;Secure;Path=/;SameSite=Strict;"
    assert second == "b=2;HttpOnly;Path=/;SameSite=Strict;"
    assert deleted.startswith("c=;") and "Expires=" in deleted


def test_providers_of_every_kind_are_booted_for_each_request_where_they_have_something_to_do():
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
