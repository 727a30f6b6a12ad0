"""Requests that other servers have read in two ways: targets, methods, headers, framing."""

import json
import time

import pytest

from package_tests.support.controllers import connect, project_with, wait_until
from package_tests.support.project import serve

from .conftest import ATTACKED, ENVIRONMENT

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
PEP_3333 = {
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
}


def exchange(server, data, seconds=2.0):
    """Send `data`, then receive until the server closes the connection, or sends nothing for `seconds`."""
    with connect(server.port) as connection:
        text = b""
        connection.settimeout(seconds)
        try:
            connection.sendall(data)
            while chunk := connection.recv(65536):
                text += chunk
        except (TimeoutError, ConnectionError):
            pass
    return text


def status_of(text):
    return int(text.split(b" ")[1]) if text.startswith(b"HTTP/1.1 ") else None


# -- the environment of the process -----------------------------------------------------------------------------------


def test_request_contains_nothing_of_the_process_environment(server):
    status, _, body = server.get("/environ")
    environ = json.loads(body)

    assert status == 200
    assert not any(value and value in body.decode() for value in ENVIRONMENT.values() if value != "5")
    assert {"HTTP_PROXY", "HTTP_AUTHORIZATION", "CONTENT_LENGTH", "REMOTE_USER", "APP_KEY"}.isdisjoint(environ)
    names = {name for name in environ if not name.startswith(("HTTP_", "wsgi.", "zuplo_origin."))}
    assert names <= PEP_3333


def test_variable_of_the_process_is_never_a_token_or_a_header(server):
    assert json.loads(server.get("/protected")[2]) == {"error": "No token provided"}
    assert json.loads(server.get("/value")[2]) == {"value": None}
    assert json.loads(server.get("/value", {"X-Value": "sent"})[2]) == {"value": "sent"}


def test_header_named_proxy_is_the_client_s(server):
    assert (
        json.loads(server.get("/environ", {"Proxy": "http://evil.example"})[2])["HTTP_PROXY"] == "http://evil.example"
    )


AMBIGUOUS = [
    "/parts%2Fa",
    "/parts%2fa",
    "/parts/a%2Fb",
    "/parts/%2f",
    "/parts/.",
    "/parts/..",
    "/parts/%2e%2e",
    "/parts/%2E",
    "/parts/.%2e",
    "/files/..",
    "/files/a/../b",
    "/files/a/..%2fb",
    "/files/%2e%2e/%2e%2e/etc/passwd",
    "/files/a%2fb",
    "/parts/../protected",
    "/x/../health/live",
    "/./health/live",
    "/health%2Flive",
    "//health/live",
    "/health//live",
    "/health/live/",
    "/health/live/.",
    "/HEALTH/live",
    "/health/live;a",
]


# -- targets and methods ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/parts/a", "a"),
        ("/parts/a%20b", "a b"),
        ("/parts/%C3%A9", "é"),
        ("/parts/a%252Fb", "a%2Fb"),
        ("/parts/a%5Cb", "a\\b"),
        ("/parts/...", "..."),
        ("/parts/.a", ".a"),
        ("/parts/a%3Fb", "a?b"),
        ("/parts/a%23b", "a#b"),
        ("/parts/a;b=c", "a;b=c"),
        ("/parts/a%2E%2Eb", "a..b"),
        ("/files/a/b", "a/b"),
        ("/files/a//b", "a//b"),
        ("/parts/auth0%7C1", "auth0|1"),
    ],
)
def test_part_of_a_path_is_decoded_once(server, target, expected):
    status, _, body = server.get(target)
    assert (status, json.loads(body)["part"]) == (200, expected)


@pytest.mark.parametrize("target", AMBIGUOUS)
def test_ambiguous_path_matches_no_route_in_response_and_log(server, target):
    name = f"ambiguous-{AMBIGUOUS.index(target)}"
    status, _, body = server.get(target, {"zp-rid": name})
    assert (status, json.loads(body)) == (404, {"error": "Not found"})

    wait_until(lambda: f'"rid":"{name}"' in server.output())
    [line] = [json.loads(line) for line in server.output().splitlines() if f'"rid":"{name}"' in line]
    assert (line["route"], line["status"]) == ("-", 404)


def test_paths_and_header_values_are_read_the_same_way_in_development(tmp_path):
    project = project_with(ATTACKED, tmp_path / "project")
    with serve(project, tmp_path / "log") as development:
        headers = {"Host": f"127.0.0.1:{development.port}"}
        for target, expected in (("/parts/a%2Fb", 404), ("/parts/%2e%2e", 404), ("/parts/a%252Fb", 200)):
            assert development.get(target, headers)[0] == expected
        for value in (b"caf\xe9", b"\xc3\xa9"):
            request = b"GET /value HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Value: %s\r\nConnection: close\r\n\r\n"
            _, body = split(exchange(development, request % (development.port, value)))
            assert json.loads(body) == {"value": value.decode("latin-1")}


def split(text):
    head, _, body = text.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("value", [b"caf\xe9", b"\xc3\xa9", b"\xff\xfe", b"a\tb", b"\x80"])
def test_header_value_beyond_ascii_is_latin_1(server, value):
    text = exchange(server, b"GET /value HTTP/1.1\r\nHost: x\r\nX-Value: %s\r\nConnection: close\r\n\r\n" % value)
    assert json.loads(split(text)[1]) == {"value": value.decode("latin-1")}


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        (b"GET http://127.0.0.1/health/live HTTP/1.1", {200}),
        (b"GET http://evil.example/protected HTTP/1.1", {401}),
        (b"GET * HTTP/1.1", {400, 404}),
        (b"OPTIONS * HTTP/1.1", {404}),
        (b"CONNECT evil.example:443 HTTP/1.1", {400, 404, 405}),
        (b"CONNECT /protected HTTP/1.1", {400, 404, 405}),
        (b"TRACE /health/live HTTP/1.1", {405}),
        (b"PRI * HTTP/2.0", {400, 404, 505, None}),
        (b"GET /health/live HTTP/1.2", {400, 505, None}),
        (b"GET /health/live HTTP/3.0", {400, 505, None}),
        (b"GET /health/live", {400, None}),
        (b"GET  /health/live HTTP/1.1", {400, None}),
        (b"GET /health/live  HTTP/1.1", {400, None}),
        (b"GET\t/health/live HTTP/1.1", {400, None}),
        (b" GET /health/live HTTP/1.1", {400, None}),
        (b"get /health/live HTTP/1.1", {405}),
        (b"GETT /health/live HTTP/1.1", {405}),
        (b"G\x00T /health/live HTTP/1.1", {400, None}),
        (b"GET /health/live\x00 HTTP/1.1", {400, None}),
        (b"GET /health/live\xff HTTP/1.1", {400, 404}),
        (b"GET /a b HTTP/1.1", {400, None}),
        (b"GET /health/live#x HTTP/1.1", {200, 400, 404}),
        (b"GET /health/live%00 HTTP/1.1", {400}),
        (b"GET /health/live%0d%0aX-A:b HTTP/1.1", {400}),
        (b"GET /%zz HTTP/1.1", {400, 404}),
        (b"GET /% HTTP/1.1", {400, 404}),
        (b"GET health/live HTTP/1.1", {400, 404}),
        (b"GET ?x HTTP/1.1", {400, 404}),
    ],
)
def test_request_line_gets_a_4xx_or_is_read_in_one_way(server, line, statuses):
    assert status_of(exchange(server, line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")) in statuses


@pytest.mark.parametrize(
    "line",
    [
        b"X-A: b\r\n folded",
        b"X-A: b\r\n\tfolded",
        b" X-A: b",
        b"X-A : b",
        b"X-A\t: b",
        b"X A: b",
        b": b",
        b"X-A",
        b"X-A: a\x00b",
        b"X-A: a\rb",
        b"X-\xe9: b",
        b"X-A:\x01",
        b"(X): b",
    ],
)
def test_malformed_header_is_400(server, line):
    assert status_of(exchange(server, b"GET /health/live HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % line)) == 400


# -- framing ----------------------------------------------------------------------------------------------------------

CHUNKED = b"Transfer-Encoding: chunked\r\n"
FRAMINGS = {
    "content-length and transfer-encoding": b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "transfer-encoding and content-length": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "content-length that ends inside the chunks": b"Content-Length: 3\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "two content-lengths": b"Content-Length: 0\r\nContent-Length: 36\r\n\r\n",
    "two content-lengths, the larger one first": b"Content-Length: 36\r\nContent-Length: 0\r\n\r\n",
    "a list of content-lengths": b"Content-Length: 0, 36\r\n\r\n",
    "a negative content-length": b"Content-Length: -1\r\n\r\n",
    "a content-length with a sign": b"Content-Length: +0\r\n\r\n",
    "a hexadecimal content-length": b"Content-Length: 0x0\r\n\r\n",
    "a content-length with a space": b"Content-Length: 0 0\r\n\r\n",
    "an empty content-length": b"Content-Length: \r\n\r\n",
    "an endless content-length": b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a content-length with a decimal point": b"Content-Length: 0.0\r\n\r\n",
    "a content-length before the colon": b"Content-Length : 0\r\n\r\n",
    "another transfer-encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": b"Transfer-Encoding: identity\r\n\r\n",
    "chunked, then identity": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked and gzip in the wrong order": b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "two transfer-encodings": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a folded transfer-encoding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a transfer-encoding before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "quotes": b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a chunk size with a sign": CHUNKED + b"\r\n+0\r\n\r\n",
    "a chunk size with a prefix": CHUNKED + b"\r\n0x0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"\r\n-1\r\n\r\n",
    "an endless chunk size": CHUNKED + b"\r\nffffffffffffffffff\r\n\r\n",
    "a chunk size that wraps around": CHUNKED + b"\r\n10000000000000000\r\n\r\n",
    "no chunk size": CHUNKED + b"\r\n\r\n\r\n",
    "a chunk without its end": CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n",
    "an extension with a line feed": CHUNKED + b"\r\n1;a\nb\r\na\r\n0\r\n\r\n",
}
TE_AND_CL = list(FRAMINGS)[:3]


@pytest.mark.parametrize("name", FRAMINGS)
def test_ambiguous_framing_does_not_smuggle_a_request(server, name):
    text = exchange(server, b"POST /echo HTTP/1.1\r\nHost: x\r\n%s%s" % (FRAMINGS[name], SMUGGLED), 8.0)

    assert b"smuggled" not in text
    # with both lengths, the chunks count, and the connection is closed (RFC 9112, section 6.1)
    assert status_of(text) in ((200,) if name in TE_AND_CL else (400, 411, 413, 415, 501, None))
    assert text.count(b"HTTP/1.1 ") <= 1


@pytest.mark.parametrize("size", [40_000, 70_000, 1_000_000])
def test_large_headers_are_431_or_served_and_never_crash(server, size):
    text = exchange(server, b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * size + b"\r\n\r\n")
    assert status_of(text) in (200, 431, None)


def test_many_headers_and_many_fields_are_rejected(server):
    many = b"".join(b"X-%d: a\r\n" % number for number in range(1000))
    assert status_of(exchange(server, b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n")) == 431
    assert server.get("/value?" + "&".join(f"a{number}=1" for number in range(200)))[0] in (200, 400)
    assert server.get("/environ", {"Cookie": "; ".join(f"c{number}=1" for number in range(2000))})[0] in (200, 400, 431)


@pytest.mark.parametrize("piece", [b"\r\n", b"\n", b"\r\n\r\n\r\n"])
def test_empty_lines_before_a_request_are_skipped_or_rejected(server, piece):
    text = exchange(server, piece + b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status_of(text) in (200, 400, None)


def test_upgrade_is_ignored(server):
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    began = time.monotonic()
    text = exchange(server, b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
    assert status_of(text) == 200 and b"101" not in text.split(b"\r\n")[0] and time.monotonic() - began < 30
