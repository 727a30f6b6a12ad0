"""Each service under 16 clients on the production server: 2 processes with 8 threads each, on files and in Redis."""

import json
import socket
import time

import pytest

from package_tests.support.redis import RedisServer
from package_tests.support.services import ServicesServer, hammer

COUNT = 320


@pytest.fixture(scope="module", params=["file", "redis"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "file":
        with ServicesServer(folder) as running:
            yield running
            running.issuer.close()
        return
    with (
        RedisServer(folder) as redis,
        ServicesServer(folder, CACHE_STORE="redis", REDIS_PORT=str(redis.port)) as running,
    ):
        yield running
        running.issuer.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/validator", lambda user: {"user": user}),
        ("/gate/{user}", lambda user: {"gate": True, "policy": True, "owner": user}),
        ("/gate/another", lambda user: {"gate": False, "policy": False, "owner": "another"}),
        ("/gate/{user}/authorize", lambda user: {"user": user}),
        ("/entry", lambda user: {"user": user, "list": [1, "1", None]}),
        ("/event", lambda user: {"user": user}),
        ("/hash", lambda user: {"right": True, "wrong": False}),
        ("/sign", lambda user: {"user": user}),
        ("/compact", lambda user: {"user": user, "account": user[0]}),
    ],
)
def test_service_returns_each_callers_own_data_under_load(server, path, expected):
    seen = hammer(server, COUNT, lambda user, n: path.format(user=user), lambda user, _, body: body == expected(user))

    assert seen == {200: COUNT, "right": COUNT}


def test_increment_counts_each_request_once(server):
    counts = []
    seen = hammer(
        server, COUNT, lambda user, n: "/count/hammered", lambda _, __, body: not counts.append(body["count"])
    )

    assert seen["right"] == COUNT
    assert sorted(counts) == list(range(1, COUNT + 1))
    assert server.json("/value/hammered") == (200, {"value": COUNT})


def test_remember_computes_each_value_once(server):
    bodies = []
    seen = hammer(server, 160, lambda user, n: f"/remember/name{n % 4}", lambda *result: not bodies.append(result[2]))

    assert seen["right"] == 160
    assert {body["computed"] for body in bodies} == {1}
    assert {body["value"]["value"] for body in bodies} == {f"name{n}" for n in range(4)}


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        ("/limited/all", 40),  # throttle:40/day
        ("/limited/account", 4 * 40),  # four accounts, 40 each
        ("/limited/address", 40),  # one address
    ],
)
def test_limit_accepts_exactly_its_number_of_requests(server, path, accepted):
    bodies = {200: {"ok": True}, 429: {"error": "Slow down" if "address" in path else "Too many requests"}}
    seen = hammer(server, 400, lambda user, n: path, lambda _, status, body: body == bodies[status])

    assert seen == {200: accepted, 429: 400 - accepted, "right": 400}


def test_limiter_of_callers_is_keyed_by_issuer_and_subject(server):
    for remaining in (59, 58):
        status, headers, _ = server.get("/limited/caller", server.headers("carol"))
        assert (status, headers["x-ratelimit-remaining"]) == (200, str(remaining))
    _, headers, _ = server.get("/limited/caller", server.headers("dave"))
    assert headers["x-ratelimit-remaining"] == "59"


def test_limit_is_behind_the_guard(server):
    before = server.get("/limited/caller", server.headers("erin"))[1]["x-ratelimit-remaining"]
    status, headers, _ = server.get("/limited/caller", {})

    assert status == 401
    assert "x-ratelimit-limit" not in headers
    assert int(server.get("/limited/caller", server.headers("erin"))[1]["x-ratelimit-remaining"]) == int(before) - 1


def test_headers_are_those_of_the_limit_that_is_reached_first(server):
    for remaining in (2, 1, 0):
        status, headers, _ = server.get("/limited/twice", server.headers("alice"))
        assert (status, headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == (200, "3", str(remaining))
    status, headers, body = server.get("/limited/twice", server.headers("alice"))

    assert (status, json.loads(body)) == (429, {"error": "Too many requests"})
    assert 3500 <= int(headers["retry-after"]) <= 3600
    assert headers["x-ratelimit-remaining"] == "0"
    assert int(headers["x-ratelimit-reset"]) > 1_700_000_000


def test_log_is_one_json_object_a_line_with_the_requests_id(server):
    hammer(server, 160, lambda user, n: "/log", lambda _, status, __: status == 200)
    server.get("/log", server.headers("alice", **{"zp-rid": "its-id"}))

    def lines_of_the_action():
        return [line for line in server.lines() if line["logger"].startswith("app")]

    end = time.monotonic() + 20
    while len(lines_of_the_action()) < 161 and time.monotonic() < end:  # each worker writes them in batches
        time.sleep(0.02)
    written = lines_of_the_action()
    users = {line["rid"]: line["message"] for line in written}
    assert len(written) == 161
    assert all(line["level"] == "warning" and line["message"].startswith("user ") for line in written)
    assert users["its-id"] == "user alice"
    assert len(users) == len(written)


def test_cookie_is_encrypted_and_is_absent_unless_it_decrypts(server):
    status, headers, body = server.get("/cookie", server.headers("alice"))
    name, _, value = headers["set-cookie"].partition(";")[0].partition("=")
    assert (status, json.loads(body), name) == (200, {"user": None}, "user")
    assert "alice" not in value

    def read(cookie):
        return server.json("/cookie", "bob", Cookie=cookie)

    assert read(f"user={value}") == (200, {"user": "alice"})
    changed = value[:20] + ("A" if value[20] != "A" else "B") + value[21:]
    for absent in ("user=alice", f"user={changed}", "user=", "user=\u00e9", f"another={value}; user={value[:-4]}"):
        assert read(absent) == (200, {"user": None}), absent


ORIGIN = "https://app.example"


@pytest.mark.parametrize("path", ["/protected", "/missing", "/limited/all"])
def test_preflight_needs_neither_token_nor_route(server, path):
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    status, headers, body = server.get(path, asked, "OPTIONS")

    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["access-control-allow-methods"] == "POST"
    assert headers["access-control-allow-headers"] == "authorization"
    assert headers["access-control-max-age"] == "600"
    assert {"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"} <= set(
        headers["vary"].split(", ")
    )


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/protected", "GET", 401), ("/missing", "GET", 404), ("/protected", "POST", 405)]
)
def test_errors_have_the_headers_of_cross_origin_requests(server, path, method, status):
    found, headers, _ = server.get(path, {"Origin": ORIGIN}, method)

    assert (found, headers["access-control-allow-origin"], headers["vary"]) == (status, ORIGIN, "Origin")


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_another_origin_gets_no_headers(server, method):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    _, headers, _ = server.get("/protected", asked, method)

    assert not [name for name in headers if name.startswith("access-control")]


def test_paths_that_are_not_listed_get_no_headers(server):
    _, headers, _ = server.get("/health/live", {"Origin": ORIGIN})

    assert "access-control-allow-origin" not in headers


def test_denied_action_is_forbidden_with_the_policys_status(server):
    assert server.json("/gate/another/authorize") == (403, {"error": "Forbidden"})
    assert server.json("/archive") == (404, {"error": "Not found"})


def test_exception_in_a_listener_is_an_internal_error(server):
    assert server.json("/failing-event") == (500, {"error": "Internal server error"})


def test_validation_responds_with_each_fault(server):
    headers = server.headers("alice", **{"Content-Type": "application/json"})
    status, _, body = server.get("/validate", headers, "POST", b"{}")

    assert (status, json.loads(body)["details"]) == (422, [{"field": "name", "message": "alice: no name"}])


def test_helpers_make_urls_of_the_public_api(server):
    assert server.json("/url") == (200, {"url": "https://api.example.com/gate/me", "container": True})


def test_redis_that_hangs_is_503_in_bounded_time(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)  # accepts, and never responds
        settings = {"CACHE_STORE": "redis", "REDIS_PORT": str(listener.getsockname()[1])}
        with ServicesServer(tmp_path, **settings) as server:
            began = time.monotonic()
            limited = hammer(server, 160, lambda user, n: "/limited/all", lambda _, status, __: status == 503)
            seconds = time.monotonic() - began
            status, headers, body = server.get("/limited/all", server.headers("alice"))
            others = hammer(server, 160, lambda user, n: f"/gate/{user}", lambda user, _, body: body["policy"])
            server.issuer.close()

    assert limited == {503: 160, "failed": 160}
    assert seconds < 20  # in turn, they would wait for 80
    assert (status, json.loads(body), headers["retry-after"]) == (503, {"error": "Service unavailable"}, "5")
    assert others == {200: 160, "right": 160}
    assert 1 <= server.output().count('"cache_unavailable"') < 160
