"""Request bodies on the production server, read by a controller."""

import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from package_tests.support.controllers import ECHO, LIMIT, connect, exchange, project_with, read_response, serving
from package_tests.support.project import serve


@contextmanager
def echo_server(folder, threads="4", **settings):
    """Run a server with one worker; yield it, and the header lines of a request to its controller."""
    lines = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer "
    with serving(ECHO, folder, WEB_CONCURRENCY="1", WEB_THREADS=threads, **settings) as (server, _, issuer):
        yield server, f"{lines}{issuer.token()}\r\nConnection: close\r\n".encode()


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    with echo_server(tmp_path_factory.mktemp("echo")) as running:
        yield running


def test_body_is_read_with_a_single_thread(tmp_path):
    with echo_server(tmp_path, "1") as (server, lines):
        response = server.raw(lines + b'Content-Length: 7\r\n\r\n{"a":1}')

    assert json.loads(response.partition(b"\r\n\r\n")[2]) == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b'Content-Length: 10\r\n\r\n{"a": "b"}',
        b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n6\r\n: "b"}\r\n0\r\n\r\n',
    ],
)
def test_body_is_read_with_and_without_a_content_length(echo, body):
    server, lines = echo
    response = server.raw(lines + body)

    assert json.loads(response.partition(b"\r\n\r\n")[2]) == {"a": "b"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'Content-Length: 9\r\n\r\n{"a": "b"', b"400"),
        (b"Content-Length: 2000000\r\n\r\n{}", b"413"),
        (b"Content-Length: 1\r\n\r\n{", b"400"),
    ],
)
def test_invalid_body_is_an_error(echo, body, status):
    server, lines = echo

    assert server.raw(lines + body).split(b" ")[1] == status


def test_body_that_ends_early_logs_no_traceback(echo):
    server, lines = echo
    with connect(server.port) as connection:
        connection.sendall(lines + b"Content-Length: 100\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        response = connection.recv(65536)

    assert response == b"" or b" 400 " in response
    assert "Traceback" not in server.output()


def in_parallel(number, function):
    """Call `function` in `number` threads at once, and return their results."""
    results = []
    barrier = threading.Barrier(number)

    def run():
        barrier.wait(LIMIT)
        try:
            results.append(function())
        except OSError as error:
            results.append(repr(error))

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * LIMIT)
    return results


@pytest.mark.parametrize("pause", [0, 0.002, 0.05])
@pytest.mark.parametrize("size", [20, 200_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_late_bodies_are_read_for_128_clients_at_once(echo, pause, size, chunked):
    server, lines = echo
    body = b'{"a": "%s"}' % (b"x" * size)
    if chunked:
        pieces = [lines + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)]
    else:
        pieces = [lines + b"Content-Length: %d\r\n\r\n" % len(body), body[:10], body[10:]]

    responses = in_parallel(128, lambda: exchange(server.port, pieces, pause))

    assert {status for status, _ in responses} == {200}
    assert all(json.loads(text) == {"a": "x" * size} for _, text in responses)


@pytest.mark.parametrize("path", [b"/echo", b"/open"])
def test_unfinished_bodies_delay_no_other_client(echo, path):
    server, lines = echo
    lines = lines.replace(b"/echo", path)
    stalled = [connect(server.port) for _ in range(64)]
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

    assert slowest < 10  # seconds; a thread that waited for a body would take BODY_TIMEOUT, which is 30


def test_overdue_body_is_408_and_closes_its_connection(tmp_path):
    with echo_server(tmp_path, BODY_TIMEOUT="1") as (server, lines):
        for path in (b"/echo", b"/open"):
            with connect(server.port) as connection:
                connection.sendall(lines.replace(b"/echo", path) + b"Content-Length: 100\r\n\r\n{")
                status, body = read_response(connection)
                assert (status, json.loads(body)) == (408, {"error": "Request timeout"})
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
def test_early_error_reaches_a_client_that_still_sends(echo, old, new, status):
    server, lines = echo
    size = 8 * 1_048_576
    pieces = [lines.replace(old, new, 1) + b"Content-Length: %d\r\n\r\n" % size, *[b"x" * 65536] * (size // 65536)]

    statuses = in_parallel(16, lambda: exchange(server.port, pieces)[0])

    assert statuses == [status] * 16


def test_header_with_an_underscore_does_not_replace_one_with_a_hyphen(tmp_path):
    with echo_server(tmp_path, JWT_HEADER="X-Service-Token") as (server, lines):
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
def test_request_that_is_rejected_by_its_headers_does_not_wait_for_its_body(echo, old, new, status):
    server, lines = echo
    with connect(server.port) as connection:
        connection.settimeout(20)  # less than BODY_TIMEOUT
        connection.sendall(lines.replace(old, new, 1) + b"Content-Length: 100\r\n\r\n")
        assert connection.recv(65536).split(b" ")[1] == status


def test_pipelined_request_after_a_body_is_served(echo):
    server, lines = echo
    lines = lines.replace(b"Connection: close\r\n", b"")
    with connect(server.port) as connection:
        connection.sendall(2 * (lines + b'Content-Length: 7\r\n\r\n{"a":1}'))
        text = b""
        while text.count(b'{"a":1}') < 2:
            received = connection.recv(65536)
            assert received
            text += received

    assert text.count(b"HTTP/1.1 200") == 2


def test_large_bodies_of_many_clients_are_spooled_and_read_whole(tmp_path):
    with echo_server(tmp_path, UPLOAD_DIR=str(tmp_path)) as (server, lines):
        body = b'{"a": "%s"}' % (b"x" * 1_000_000)
        pieces = [lines + b"Content-Length: %d\r\n\r\n" % len(body), body[:900_000], body[900_000:]]
        responses = in_parallel(64, lambda: exchange(server.port, pieces, 0.2))  # more than is kept in memory
        assert {status for status, _ in responses} == {200}
        assert {len(text) for _, text in responses} == {len(b'{"a":""}') + 1_000_000}


def test_late_bodies_are_read_and_overdue_ones_are_408_in_development(tmp_path):
    project = project_with(ECHO, tmp_path / "project")
    with serve(project, tmp_path / "log", BODY_TIMEOUT="2") as server:
        lines = b"POST /open HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n" % server.port
        lines += b"Connection: close\r\nContent-Length: 7\r\n\r\n"
        stalled = [connect(server.port) for _ in range(32)]
        for connection in stalled:
            connection.sendall(lines + b"{")
        responses = in_parallel(32, lambda: exchange(server.port, [lines, b'{"a"', b":1}"], 0.01))
        assert responses == [(200, b'{"a":1}')] * 32
        for connection in stalled:
            with connection:
                status, body = read_response(connection)
                assert (status, json.loads(body)) == (408, {"error": "Request timeout"})
