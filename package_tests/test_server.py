"""The production server as it is deployed, and gunicorn."""

import http.client
import json
import os
import resource
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager

import pytest

from package_tests.support.controllers import LIMIT, connect, wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.production import SETTINGS, bearer, ready_server
from package_tests.support.servers import Server, free_port, production
from package_tests.support.signing import ALGORITHMS


@pytest.fixture(scope="module")
def gateway():
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def server(gateway, tmp_path_factory):
    settings = {"JWT_ALGORITHMS": ",".join(ALGORITHMS), "JWT_AUDIENCE": "https://api.test/*,orders-api"}
    with ready_server(gateway, tmp_path_factory.mktemp("server"), **settings) as running:
        yield running


def test_protected_route_accepts_each_algorithm_and_rejects_no_token(server, gateway):
    for algorithm in ALGORITHMS:
        status, headers, body = server.get("/protected", bearer(gateway.token(algorithm)))
        assert (status, json.loads(body)["message"]) == (200, "Access granted")
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert server.get("/protected")[0] == 401
    assert server.get("/nope")[0] == 404
    assert json.loads(server.get("/health/ready")[2]) == {"status": "ok"}


def test_claims_are_those_of_the_caller_under_many_threads(server, gateway):
    tokens = {name: gateway.token(sub=name) for name in ("alice", "bob")}
    mixed_up = []

    def hammer(name):
        for _ in range(150):
            status, _, body = server.get("/protected", bearer(tokens[name]) if name in tokens else {})
            seen = json.loads(body).get("user", {}).get("sub")
            if (status, seen) != ((200, name) if name in tokens else (401, None)):
                mixed_up.append((name, status, seen))

    threads = [threading.Thread(target=hammer, args=(name,)) for name in ("alice", "bob", "no-token", "no-token-2") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert mixed_up == []


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % (b"a" * 20_000), b"401"),
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nX: %s\r\n" % (b"a" * 60_000), b"431"),
        (b"GET /%s HTTP/1.1\r\nHost: x\r\n" % (b"a" * 70_000), b"431"),
        (b"GET /protected%0A HTTP/1.1\r\nHost: x\r\n", b"400"),
        (b"get /protected HTTP/1.1\r\nHost: x\r\n", b"405"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n", b"404"),
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n", b"401"),
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n", b"400"),
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Basic a\r\nAuthorization: Bearer b\r\n", b"400"),
        (b"POST /protected HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n", b"405"),
    ],
)
def test_unusual_requests_get_a_response(server, lines, status):
    assert server.raw(lines + b"Connection: close\r\n\r\n").split(b" ")[1] == status


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
def test_unusual_targets_get_the_same_statuses_with_any_token_header(gateway, tmp_path, header):
    targets = [b"/health/live?a=\xc3\xa9", b"/health/live?%ff=%ff", b"/%ff", b"/%ed%a0%80", b"/%C3%A9", b"/a%00b"]
    with ready_server(gateway, tmp_path, JWT_HEADER=header) as server:
        responses = [
            server.raw(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target) for target in targets
        ]
        assert "Traceback" not in server.output()

    assert [response.split(b" ")[1] for response in responses] == [b"200", b"200", b"400", b"400", b"404", b"400"]


def test_health_and_other_requests_are_served_while_the_issuer_hangs(tmp_path):
    hanging = Issuer()
    release = threading.Event()
    hanging.behave = lambda handler: release.wait(LIMIT)
    settings = SETTINGS | {"JWT_ISSUER": hanging.name, "WEB_CONCURRENCY": "1", "JWKS_TIMEOUT": "6"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        token = hanging.token()
        waiting = [
            threading.Thread(target=lambda: server.get("/protected", bearer(token)), daemon=True) for _ in range(32)
        ]
        for thread in waiting:
            thread.start()
        wait_until(lambda: hanging.requests)
        slowest = 0.0
        for path, expected in (("/health/live", 200), ("/health/ready", 503), ("/nope", 404), ("/protected", 401)) * 5:
            began = time.perf_counter()
            assert server.get(path)[0] == expected
            slowest = max(slowest, time.perf_counter() - began)
        status, headers, body = server.get("/protected", bearer(token))
        for thread in waiting:
            thread.join(LIMIT)
        release.set()
    hanging.close()

    assert slowest < 4  # less than JWKS_TIMEOUT
    assert (status, json.loads(body)) == (503, {"error": "Signing keys unavailable"})
    assert 1 <= int(headers["retry-after"]) <= 6 and "www-authenticate" not in headers


def test_server_starts_without_its_issuer_and_accepts_tokens_when_the_issuer_returns(tmp_path):
    late = Issuer()
    late.behave = lambda handler: handler.connection.close()
    settings = SETTINGS | {"JWT_ISSUER": late.name, "WEB_CONCURRENCY": "1"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        assert server.get("/health/ready")[0] == 503
        assert server.get("/protected", bearer(late.token()))[0] == 503
        late.behave = None
        began = time.monotonic()
        wait_until(lambda: server.get("/protected", bearer(late.token()))[0] == 200)
        seconds = time.monotonic() - began
    late.close()

    assert seconds < 10


@pytest.fixture
def two_cores():
    """Limit the processes that the test starts to two cores."""
    before = os.sched_getaffinity(0)
    given = sorted(before)[:2]
    os.sched_setaffinity(0, given)
    yield given
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize("more", [0, 1])
def test_workers_are_pinned_when_there_is_a_core_for_each(gateway, tmp_path, two_cores, more):
    workers = len(two_cores) + more
    expected = [two_cores] * workers if more else [[core] for core in two_cores]
    with ready_server(gateway, tmp_path, WEB_CONCURRENCY=str(workers)) as server:
        assert sorted(sorted(os.sched_getaffinity(int(worker))) for worker in server.workers()) == expected


def test_a_thousand_idle_connections_delay_no_other_client(gateway, tmp_path):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ready_server(gateway, tmp_path) as server, ExitStack() as idle:
        for _ in range(1200):
            idle.enter_context(connect(server.port))
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
            connection.request("GET", "/protected", headers=bearer(gateway.token()))
            assert connection.getresponse().status == 200


def test_log_contains_no_part_of_a_token(server, gateway):
    good, bad = gateway.token(), gateway.token(exp=1, iat=0)
    for token in (good, bad, good[:-4] + "AAAA"):
        server.get(f"/protected?access_token={token}", bearer(token))

    wait_until(lambda: "bad_signature" in server.output() and server.output().endswith("\n"))  # written in batches
    output = server.output()
    lines = [json.loads(line) for line in output.splitlines()]  # each is a JSON object, granian's own lines too
    assert {"expired", "bad_signature"} <= {line.get("reason") for line in lines}
    for part in {*good.split("."), *bad.split(".")}:
        assert part not in output


@contextmanager
def gunicorn(gateway, folder, *options, **settings):
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", *options, "wsgi:application"]
    settings = {"JWT_ISSUER": gateway.name, "JWT_AUDIENCE": "*"} | settings
    with Server(command, port, folder / "log", settings) as server:
        yield server


def test_application_runs_on_another_wsgi_server(gateway, tmp_path):
    with gunicorn(gateway, tmp_path, "--threads", "8") as server:
        assert server.get("/protected", bearer(gateway.token()))[0] == 200
        assert server.get("/health/ready")[0] == 200


def test_worker_that_is_forked_after_the_application_was_loaded_refreshes_its_own_keys(gateway, tmp_path):
    with gunicorn(gateway, tmp_path, "--preload", JWKS_TTL="1", JWKS_MAX_STALE="0") as server:
        time.sleep(2)  # keys that were fetched before the fork have expired
        wait_until(lambda: server.get("/health/ready")[0] == 200)
