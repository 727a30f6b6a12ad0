"""Streamed responses on the production server."""

import http.client
import json
import socket
import sys
import time
from contextlib import ExitStack, closing, contextmanager

import pytest

from package_tests.support.issuer import Issuer
from package_tests.support.project import copy_of_the_project
from package_tests.support.servers import Server, free_port

CONTROLLER = """
import time
from pathlib import Path

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response

HERE = Path(__file__).parents[2]


class StreamsController(Controller):
    def rows(self):
        for number in range(1_000_000):
            yield "%099d\\n" % number

    def events(self, request: Request, response: Response):
        def events():
            try:
                for number in range(10**9):
                    yield f"data: {number} {request.query_string()}\\n\\n"
                    time.sleep(0.2)
            finally:
                (HERE / "ended").write_text("ended")

        return response.stream(events(), "text/event-stream")

    def breaks(self):
        yield "half"
        raise RuntimeError("in the middle")

    def breaks_at_once(self):
        raise RuntimeError("before the first chunk")
        yield "never"

    def nothing(self):
        yield from ()

    def numbers(self):
        yield 3

    def one(self, response: Response):
        return response.stream(b"abc")

    def replaced(self, response: Response):
        response.stream(self.rows(), "text/csv")
        return {"other": True}

    def replaced_by_json(self, response: Response):
        response.stream(self.rows(), "text/csv")
        return response.json({"other": True}, status=404)

    def replaced_by_redirect(self, response: Response):
        response.stream(self.rows(), "text/csv")
        return response.redirect("/file")

    def miscounted(self, response: Response):
        response.header("Content-Length", "3")
        return response.stream(iter(["abc", "def"]))

    def header_with_a_blank(self, response: Response):
        response.header("X A:", "c")
        return "x"

    def file(self, response: Response):
        return response.download("data", str(HERE / "data.csv"))

    def saved(self, response: Response):
        return response.download("däta", str(HERE / "data.csv"), force=True)
""".replace("{request.query_string()}", "{request.environ['QUERY_STRING']}")
ROUTES = """
from app.controllers.StreamsController import StreamsController

ROUTES += [
    Route.get(f"/{name}", getattr(StreamsController, name))
    for name in vars(StreamsController)
    if not name.startswith("_")
]
"""
DATA = b"".join(b"%d," % number for number in range(100_000))


@contextmanager
def serving(folder, **more):
    project = copy_of_the_project(folder / "project")
    (project / "app/controllers/StreamsController.py").write_text(CONTROLLER)
    with open(project / "routes/web.py", "a") as routes:
        routes.write(ROUTES)
    (project / "data.csv").write_bytes(DATA)
    issuer, port = Issuer(), free_port()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "WEB_CONCURRENCY": "1"}
    with Server(
        [sys.executable, "-m", "zuplo_origin.server"], port, folder / "log", settings | more, project
    ) as server:
        server.project = project
        yield server
    issuer.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("streams")) as running:
        yield running


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def resident_mib(process):
    with open(f"/proc/{process}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def lines_of(server, route):
    """The lines of the access log for a route."""
    lines = [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == "request" and line["route"] == route]


def test_a_generator_is_sent_in_constant_memory_and_logged_at_its_end(server):
    [worker] = server.workers()
    before, most, size = resident_mib(worker), 0.0, 0
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", "/rows")
        response = connection.getresponse()
        while chunk := response.read(1 << 20):
            size += len(chunk)
            most = max(most, resident_mib(worker))
    wait_until(lambda: lines_of(server, "/rows"))
    [line] = lines_of(server, "/rows")

    assert (response.status, size, response.getheader("Transfer-Encoding")) == (200, 100_000_000, "chunked")
    assert most - before < 10  # MiB
    assert (line["status"], line["bytes"], line["complete"]) == (200, 100_000_000, True)


def test_events_arrive_one_by_one_and_a_client_that_leaves_ends_the_generator(server):
    (server.project / "ended").unlink(missing_ok=True)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET /events?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
        text = b""
        while b"data: 2 a=b" not in text:
            text += connection.recv(65536)
            assert text.count(b"data: ") <= 3
    wait_until((server.project / "ended").exists)
    wait_until(lambda: lines_of(server, "/events"))

    assert b"content-type: text/event-stream" in text
    assert lines_of(server, "/events")[-1]["complete"] is False


def test_an_exception_in_the_middle_breaks_the_connection_and_is_logged(server):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("GET", "/breaks")
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead):
            response.read()

    wait_until(lambda: "in the middle" in server.output())
    assert "granian" not in server.output()


def test_an_exception_before_the_first_chunk_is_a_normal_error(server):
    status, _, body = server.get("/breaks_at_once")

    assert (status, json.loads(body)) == (500, {"error": "Internal server error"})


def test_an_empty_generator_is_an_empty_response(server):
    assert server.get("/nothing")[::2] == (200, b"")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/replaced", (200, b'{"other":true}')),
        ("/replaced_by_json", (404, b'{"other":true}')),
        ("/one", (200, b"abc")),
        ("/miscounted", (200, b"abcdef")),
        ("/numbers", (500, b'{"error":"Internal server error"}')),
        ("/header_with_a_blank", (500, b'{"error":"Internal server error"}')),
    ],
)
def test_the_last_answer_is_sent_whole_and_what_cannot_be_sent_is_an_error(server, path, expected):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        for _ in range(2):  # the connection still works after it
            connection.request("GET", path)
            response = connection.getresponse()
            assert (response.status, response.read()) == expected
            assert response.getheader("x-content-type-options") == "nosniff"


def test_a_redirect_replaces_a_stream(server):
    status, headers, _ = server.get("/replaced_by_redirect")
    assert (status, headers["location"]) == (302, "/file")


def test_head_sends_the_headers_of_a_stream_and_runs_nothing(server):
    status, headers, body = server.get("/rows", method="HEAD")

    assert (status, headers["content-type"], body) == (200, "text/plain; charset=utf-8", b"")


def test_streams_beyond_the_limit_are_503_and_other_requests_are_served(tmp_path):
    with serving(tmp_path, WEB_STREAMS="2", WEB_THREADS="2") as server, ExitStack() as opened:
        for _ in range(2):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in connection.recv(100)
        status, headers, body = server.get("/events")
        assert (status, json.loads(body)) == (503, {"error": "Service unavailable"})
        assert headers["retry-after"] == "1"
        assert server.get("/health/live")[0] == 200
        opened.close()
        wait_until(lambda: server.get("/nothing")[0] == 200)


def test_an_endless_stream_does_not_hold_up_the_end(tmp_path):
    with (
        serving(tmp_path, SHUTDOWN_DRAIN="0") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection,
    ):
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in connection.recv(100)
        server.stop()
        assert server.process.returncode == 0
        assert (server.project / "ended").exists()


@pytest.mark.parametrize(
    ("headers", "status", "selected", "content_range"),
    [
        ({}, 200, DATA, None),
        ({"Range": "bytes=0-9"}, 206, DATA[:10], f"bytes 0-9/{len(DATA)}"),
        ({"Range": "bytes=100000-"}, 206, DATA[100000:], f"bytes 100000-{len(DATA) - 1}/{len(DATA)}"),
        ({"Range": "bytes=-5"}, 206, DATA[-5:], f"bytes {len(DATA) - 5}-{len(DATA) - 1}/{len(DATA)}"),
        ({"Range": f"bytes={len(DATA)}-"}, 416, b"", f"bytes */{len(DATA)}"),
        ({"Range": "bytes=0-1,5-6"}, 200, DATA, None),
        ({"Range": "lines=0-1"}, 200, DATA, None),
        ({"Range": "bytes=x"}, 200, DATA, None),
        ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200, DATA, None),
    ],
)
def test_a_file_is_sent_whole_or_in_part(server, headers, status, selected, content_range):
    answered = server.get("/file", headers)

    assert (answered[0], answered[2]) == (status, selected)
    assert answered[1].get("content-range") == content_range
    assert answered[1]["content-length"] == str(len(selected))


def test_preconditions_of_a_file(server):
    etag = server.get("/file")[1]["etag"]
    part = {"Range": "bytes=0-1"}
    assert server.get("/file", {"If-Match": '"other"'})[::2] == (412, b"")
    assert server.get("/file", {"If-Match": etag})[::2] == (200, DATA)
    assert server.get("/file", {"If-Match": "*"})[::2] == (200, DATA)
    assert server.get("/file", part | {"If-Range": etag})[::2] == (206, DATA[:2])
    assert server.get("/file", part | {"If-Range": f"W/{etag}"})[::2] == (200, DATA)
    status, headers, _ = server.get("/file", part, method="HEAD")
    assert (status, headers["content-length"]) == (200, str(len(DATA)))


def test_a_file_that_the_client_has_is_not_sent_again(server):
    _, headers, _ = server.get("/file")
    status, again, body = server.get("/file", {"If-None-Match": headers["etag"]})

    assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    assert server.get("/file", {"Range": "bytes=0-9", "If-Range": headers["etag"]})[0] == 206


def test_a_file_to_be_saved_keeps_its_name(server):
    assert server.get("/saved")[1]["content-disposition"] == (
        "attachment; filename=\"d_ta.csv\"; filename*=UTF-8''d%C3%A4ta.csv"
    )


def test_many_streams_one_after_the_other_leave_no_threads_behind(server):
    [worker] = server.workers()
    threads = []
    for _ in range(3):
        for _ in range(50):
            server.get("/nothing")
            server.get("/breaks_at_once")
        with open(f"/proc/{worker}/status") as status:
            threads.append(int(next(line for line in status if line.startswith("Threads")).split()[1]))

    assert max(threads) - min(threads) <= 2
