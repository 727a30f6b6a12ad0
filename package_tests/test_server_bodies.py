"""Bodies on the production server, for a controller that reads them."""

import http.client
import json
import socket
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from package_tests.support.issuer import Issuer
from package_tests.support.project import copy_of_the_project, serve
from package_tests.support.servers import Server, free_port

CONTROLLER = """
from masonite.controllers import Controller
from masonite.request import Request


class EchoController(Controller):
    def show(self, request: Request):
        return request.all()
"""
ROUTE = """
from app.controllers.EchoController import EchoController

ROUTES.append(Route.post("/echo", EchoController.show).middleware("jwt"))
ROUTES.append(Route.post("/open", EchoController.show))
"""


@contextmanager
def serving(folder, threads="4", **more):
    """The server of a copy of the project that has one controller more, and the lines of a request to it."""
    copy_of_the_project(folder)
    (folder / "app/controllers/EchoController.py").write_text(CONTROLLER)
    with open(folder / "routes/web.py", "a") as routes:
        routes.write(ROUTE)
    issuer, port = Issuer(), free_port()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port)}
    settings |= {"WEB_CONCURRENCY": "1", "WEB_THREADS": threads} | more
    lines = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer "
    with Server([sys.executable, "-m", "zuplo_origin.server"], port, folder / "log", settings, folder) as server:
        yield server, f"{lines}{issuer.token()}\r\nConnection: close\r\n".encode()
    issuer.close()


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("echo")) as running:
        yield running


def test_a_single_thread_reads_bodies_too(tmp_path):
    with serving(tmp_path, "1") as (server, lines):
        answer = server.raw(lines + b'Content-Length: 7\r\n\r\n{"a":1}')

    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b'Content-Length: 10\r\n\r\n{"a": "b"}',
        b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n6\r\n: "b"}\r\n0\r\n\r\n',
    ],
)
def test_a_body_is_read_with_and_without_a_stated_length(echo, body):
    server, lines = echo
    answer = server.raw(lines + body)

    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"a": "b"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'Content-Length: 9\r\n\r\n{"a": "b"', b"400"),
        (b"Content-Length: 2000000\r\n\r\n{}", b"413"),
        (b"Content-Length: 1\r\n\r\n1", b"400"),
    ],
)
def test_a_body_that_is_none_is_told(echo, body, status):
    server, lines = echo

    assert server.raw(lines + body).split(b" ")[1] == status


def test_a_body_that_ends_early_is_no_mistake_of_the_application(echo):
    server, lines = echo
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(lines + b"Content-Length: 100\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)

    assert answer == b"" or b" 400 " in answer
    assert "Traceback" not in server.output()


def in_parallel(number, function):
    """Call `function` in `number` threads at once, and return what it returned."""
    results = []
    barrier = threading.Barrier(number)

    def run():
        barrier.wait(30)
        try:
            results.append(function())
        except OSError as error:
            results.append(repr(error))

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


def exchange(port, pieces, pause=0.0):
    """Send `pieces` in segments of their own, `pause` seconds apart, and return the response's status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


@pytest.mark.parametrize("pause", [0, 0.002, 0.05])
@pytest.mark.parametrize("size", [20, 200_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_that_arrive_late_are_served_for_128_clients_at_once(echo, pause, size, chunked):
    server, lines = echo
    body = b'{"a": "%s"}' % (b"x" * size)
    if chunked:
        pieces = [lines + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)]
    else:
        pieces = [lines + b"Content-Length: %d\r\n\r\n" % len(body), body[:10], body[10:]]

    answers = in_parallel(128, lambda: exchange(server.port, pieces, pause))

    assert {status for status, _ in answers} == {200}
    assert all(json.loads(text) == {"a": "x" * size} for _, text in answers)


@pytest.mark.parametrize("path", [b"/echo", b"/open"])
def test_unfinished_bodies_hold_up_no_other_client(echo, path):
    server, lines = echo
    lines = lines.replace(b"/echo", path)
    stalled = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(64)]
    for connection in stalled:
        connection.sendall(lines + b'Content-Length: 100\r\n\r\n{"a":')

    slowest = 0.0
    for _ in range(20):
        began = time.perf_counter()
        assert server.get("/health/live")[0] == 200
        slowest = max(slowest, time.perf_counter() - began)
        assert exchange(server.port, [lines + b"Content-Length: 7\r\n\r\n", b'{"a":1}']) == (200, b'{"a":1}')
    for connection in stalled:
        connection.close()

    assert slowest < 1  # seconds; a thread that waited for a body would take BODY_TIMEOUT


def test_an_overdue_body_is_408_and_ends_its_connection(tmp_path):
    with serving(tmp_path, BODY_TIMEOUT="1") as (server, lines):
        for path in (b"/echo", b"/open"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
                connection.sendall(lines.replace(b"/echo", path) + b"Content-Length: 100\r\n\r\n{")
                response = http.client.HTTPResponse(connection)
                response.begin()
                assert (response.status, json.loads(response.read())) == (408, {"error": "Request timeout"})
                assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Bearer ", b"Bearer x", 401),
        (b"/echo", b"/nope", 404),
        (b"POST", b"DELETE", 405),
        (b"", b"", 413),
    ],
)
def test_an_early_error_reaches_a_client_that_is_still_sending(echo, old, new, status):
    server, lines = echo
    size = 8 * 1_048_576
    pieces = [lines.replace(old, new, 1) + b"Content-Length: %d\r\n\r\n" % size, *[b"x" * 65536] * (size // 65536)]

    answers = in_parallel(16, lambda: exchange(server.port, pieces)[0])

    assert answers == [status] * 16


def test_headers_with_an_underscore_stand_in_for_no_other(tmp_path):
    with serving(tmp_path, JWT_HEADER="X-Service-Token") as (server, lines):
        token = lines.split(b"Bearer ")[1].split(b"\r\n")[0]
        for name, status in ((b"X-Service-Token", b"200"), (b"X_Service_Token", b"401")):
            request = b"GET /protected HTTP/1.1\r\nHost: x\r\n%s: Bearer %s\r\nConnection: close\r\n\r\n" % (
                name,
                token,
            )
            assert server.raw(request).split(b" ")[1] == status


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [(b"Bearer ", b"Bearer x", b"401"), (b"/echo", b"/nope", b"404"), (b"POST", b"PUT", b"405")],
)
def test_a_request_that_is_rejected_by_its_headers_waits_for_no_body(echo, old, new, status):
    server, lines = echo
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(lines.replace(old, new, 1) + b"Content-Length: 100\r\n\r\n")
        assert connection.recv(65536).split(b" ")[1] == status  # and BODY_TIMEOUT is longer than this client waits


def test_a_pipelined_request_after_a_body_is_served(echo):
    server, lines = echo
    lines = lines.replace(b"Connection: close\r\n", b"")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(2 * (lines + b'Content-Length: 7\r\n\r\n{"a":1}'))
        text = b""
        while text.count(b'{"a":1}') < 2:
            received = connection.recv(65536)
            assert received
            text += received

    assert text.count(b"HTTP/1.1 200") == 2


def test_large_bodies_of_many_clients_are_spooled_and_arrive_whole(tmp_path):
    with serving(tmp_path, UPLOAD_DIR=str(tmp_path)) as (server, lines):
        body = b'{"a": "%s"}' % (b"x" * 1_000_000)
        pieces = [lines + b"Content-Length: %d\r\n\r\n" % len(body), body[:900_000], body[900_000:]]
        answers = in_parallel(64, lambda: exchange(server.port, pieces, 0.2))  # more than is held in memory
        assert {status for status, _ in answers} == {200}
        assert {len(text) for _, text in answers} == {len(b'{"a":""}') + 1_000_000}


def test_late_and_overdue_bodies_are_served_and_408_in_development_too(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    (project / "app/controllers/EchoController.py").write_text(CONTROLLER)
    with open(project / "routes/web.py", "a") as routes:
        routes.write(ROUTE)
    with serve(project, tmp_path / "log", BODY_TIMEOUT="2") as server:
        lines = b"POST /open HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n" % server.port
        lines += b"Connection: close\r\nContent-Length: 7\r\n\r\n"
        stalled = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(32)]
        for connection in stalled:
            connection.sendall(lines + b"{")
        answers = in_parallel(32, lambda: exchange(server.port, [lines, b'{"a"', b":1}"], 0.01))
        assert answers == [(200, b'{"a":1}')] * 32
        for connection in stalled:
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert (response.status, json.loads(response.read())) == (408, {"error": "Request timeout"})
            connection.close()
