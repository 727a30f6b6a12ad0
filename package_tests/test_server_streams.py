"""Streamed responses on the production server."""

import http.client
import json
import time
from contextlib import ExitStack, closing, contextmanager

import pytest

from package_tests.support.controllers import LIMIT, Controller, connect, serving, wait_until

STREAMS = Controller(
    "StreamsController",
    """
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
                    yield f"data: {number} {request.environ['QUERY_STRING']}\\n\\n"
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

    def header_with_a_space(self, response: Response):
        response.header("X A:", "c")
        return "x"

    def file(self, response: Response):
        return response.download("data", str(HERE / "data.csv"))

    def saved(self, response: Response):
        return response.download("däta", str(HERE / "data.csv"), force=True)
""",
    """[
    Route.get(f"/{name}", getattr(StreamsController, name))
    for name in vars(StreamsController)
    if not name.startswith("_")
]""",
)
DATA = b"".join(b"%d," % number for number in range(100_000))


@contextmanager
def stream_server(folder, **settings):
    with serving(STREAMS, folder, WEB_CONCURRENCY="1", **settings) as (server, project, _):
        (project / "data.csv").write_bytes(DATA)
        server.project = project
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with stream_server(tmp_path_factory.mktemp("streams")) as running:
        yield running


def resident_mib(process):
    with open(f"/proc/{process}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def lines_of(server, route):
    """Return the lines of the access log for a route."""
    lines = [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == "request" and line["route"] == route]


def test_generator_is_sent_in_constant_memory_and_logged_at_its_end(server):
    [worker] = server.workers()
    before, most, size = resident_mib(worker), 0.0, 0
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)) as connection:
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


def test_events_arrive_one_by_one_and_a_closed_connection_ends_the_generator(server):
    (server.project / "ended").unlink(missing_ok=True)
    with connect(server.port) as connection:
        connection.sendall(b"GET /events?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
        text = b""
        while b"data: 2 a=b" not in text:
            text += connection.recv(65536)
            assert text.count(b"data: ") <= 3
    wait_until((server.project / "ended").exists)
    wait_until(lambda: lines_of(server, "/events"))

    assert b"content-type: text/event-stream" in text
    assert lines_of(server, "/events")[-1]["complete"] is False


def test_exception_after_the_first_chunk_breaks_the_connection_and_is_logged(server):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)) as connection:
        connection.request("GET", "/breaks")
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead):
            response.read()

    wait_until(lambda: "in the middle" in server.output())
    assert "granian" not in server.output()


def test_exception_before_the_first_chunk_is_an_error_response(server):
    status, _, body = server.get("/breaks_at_once")

    assert (status, json.loads(body)) == (500, {"error": "Internal server error"})


def test_empty_generator_is_an_empty_response(server):
    assert server.get("/nothing")[::2] == (200, b"")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/replaced", (200, b'{"other":true}')),
        ("/replaced_by_json", (404, b'{"other":true}')),
        ("/one", (200, b"abc")),
        ("/miscounted", (200, b"abcdef")),
        ("/numbers", (500, b'{"error":"Internal server error"}')),
        ("/header_with_a_space", (500, b'{"error":"Internal server error"}')),
    ],
)
def test_last_response_is_sent_whole_and_an_invalid_one_is_an_error(server, path, expected):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)) as connection:
        for _ in range(2):  # the connection can be used again
            connection.request("GET", path)
            response = connection.getresponse()
            assert (response.status, response.read()) == expected
            assert response.getheader("x-content-type-options") == "nosniff"


def test_redirect_replaces_a_stream(server):
    status, headers, _ = server.get("/replaced_by_redirect")
    assert (status, headers["location"]) == (302, "/file")


def test_head_sends_the_headers_of_a_stream_without_running_its_generator(server):
    status, headers, body = server.get("/rows", method="HEAD")

    assert (status, headers["content-type"], body) == (200, "text/plain; charset=utf-8", b"")


def test_streams_beyond_the_limit_are_503_and_other_requests_are_served(tmp_path):
    with stream_server(tmp_path, WEB_STREAMS="2", WEB_THREADS="2") as server, ExitStack() as opened:
        for _ in range(2):
            connection = opened.enter_context(connect(server.port))
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in connection.recv(100)
        status, headers, body = server.get("/events")
        assert (status, json.loads(body)) == (503, {"error": "Service unavailable"})
        assert headers["retry-after"] == "1"
        assert server.get("/health/live")[0] == 200
        opened.close()
        wait_until(lambda: server.get("/nothing")[0] == 200)


def test_endless_stream_does_not_delay_the_stop(tmp_path):
    with (
        stream_server(tmp_path, SHUTDOWN_DRAIN="0") as server,
        connect(server.port) as connection,
    ):
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in connection.recv(100)
        server.process.terminate()
        assert server.process.wait(LIMIT) == 0
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
def test_file_is_sent_whole_or_in_part(server, headers, status, selected, content_range):
    response = server.get("/file", headers)

    assert (response[0], response[2]) == (status, selected)
    assert response[1].get("content-range") == content_range
    assert response[1]["content-length"] == str(len(selected))


def test_preconditions_of_a_file_are_evaluated(server):
    etag = server.get("/file")[1]["etag"]
    part = {"Range": "bytes=0-1"}
    assert server.get("/file", {"If-Match": '"other"'})[::2] == (412, b"")
    assert server.get("/file", {"If-Match": etag})[::2] == (200, DATA)
    assert server.get("/file", {"If-Match": "*"})[::2] == (200, DATA)
    assert server.get("/file", part | {"If-Range": etag})[::2] == (206, DATA[:2])
    assert server.get("/file", part | {"If-Range": f"W/{etag}"})[::2] == (200, DATA)
    status, headers, _ = server.get("/file", part, method="HEAD")
    assert (status, headers["content-length"]) == (200, str(len(DATA)))


def test_file_is_not_modified_for_a_client_that_has_its_etag(server):
    _, headers, _ = server.get("/file")
    status, again, body = server.get("/file", {"If-None-Match": headers["etag"]})

    assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    assert server.get("/file", {"Range": "bytes=0-9", "If-Range": headers["etag"]})[0] == 206


def test_forced_download_keeps_the_name_of_its_file(server):
    assert server.get("/saved")[1]["content-disposition"] == (
        "attachment; filename=\"d_ta.csv\"; filename*=UTF-8''d%C3%A4ta.csv"
    )


def test_many_streams_in_sequence_leave_no_threads(server):
    [worker] = server.workers()
    threads = []
    for _ in range(3):
        for _ in range(50):
            server.get("/nothing")
            server.get("/breaks_at_once")
        with open(f"/proc/{worker}/status") as status:
            threads.append(int(next(line for line in status if line.startswith("Threads")).split()[1]))

    assert max(threads) - min(threads) <= 2


def test_stream_that_is_never_read_is_ended_after_send_timeout(tmp_path):
    with stream_server(tmp_path, SEND_TIMEOUT="1", WEB_STREAMS="1") as server, connect(server.port) as connection:
        connection.sendall(b"GET /rows HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: lines_of(server, "/rows"))
        assert lines_of(server, "/rows")[-1]["complete"] is False
        assert server.get("/one")[0] == 200  # its place is free again


def test_stream_that_is_read_slowly_is_sent_whole(tmp_path):
    with stream_server(tmp_path, SEND_TIMEOUT="1") as server, connect(server.port) as connection:
        connection.sendall(b"GET /rows HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for _ in range(8):  # longer than SEND_TIMEOUT
            assert connection.recv(1 << 20)
            time.sleep(0.5)
        text = b""
        while chunk := connection.recv(1 << 20):
            text = chunk if len(chunk) > 10 else text + chunk

    assert text.endswith(b"0\r\n\r\n")
