"""`craft origin:check`: against this application, and against origins that get one thing wrong each."""

import json
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from package_tests.support.gateway import GATEWAY
from package_tests.support.project import copy_of_the_project, craft, serve
from package_tests.support.servers import PROJECT, free_port, production
from package_tests.support.wsgi_client import request
from zuplo_origin.dev.origin_check import BadAddress, OriginCheck


class Origin:
    """An origin that keeps the contract, as this application does, but for what `wrong` makes of an answer."""

    def __init__(self, application, wrong=None):
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                answer = request(application, "GET", self.path, dict(self.headers))
                status, headers, body = answer.status, dict(answer.header_list), answer.body
                if wrong is not None:
                    status, headers, body = wrong(self.path, dict(self.headers), status, headers, body)
                self.send_response(status)
                for name, value in ({**headers, "Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=lambda: origin.server.serve_forever(0.02), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def origin(application, wrong=None):
    made = Origin(application, wrong)
    yield made.url
    made.close()


def failed(url, token=None, **options):
    findings = OriginCheck(url, token=token, **options).run()
    return [finding.check.split(",")[0] for finding in findings if not finding.passed]


def test_an_origin_that_keeps_the_contract_has_nothing_wrong(application):
    with origin(application) as url:
        assert failed(url, GATEWAY.token("ES256")) == ["an expired token"]  # which could not be made
        findings = list(OriginCheck(url, token=GATEWAY.token()).run())
        assert not any(finding.passed is False for finding in findings)
        (stranger,) = (finding for finding in findings if "stranger" in finding.check)
        assert stranger.found == "401, Invalid token, kid k-EdDSA"

        assert failed(url, GATEWAY.token(iat=1, exp=2)) == ["a valid token"]  # of which there is none
        assert failed(url, sign=lambda claims: GATEWAY.token("RS256", **{**claims, "iss": GATEWAY.name})) == []


def believes_anything(path, headers, status, answered, body):
    if path == "/protected" and "Authorization" in headers:
        return 200, answered, b'{"message": "Access granted", "user": {}}'
    return status, answered, body


def answers_differently(path, headers, status, answered, body):
    return (403, answered, body) if status == 401 else (status, answered, body)


def may_be_stored(path, headers, status, answered, body):
    return status, {name: value for name, value in answered.items() if name != "Cache-Control"}, body


def has_a_debug_page(path, headers, status, answered, body):
    if status == 404:
        return 500, {"Content-Type": "text/html"}, b"<html>Traceback (most recent call last)"
    return status, answered, body


def has_everything_open(path, headers, status, answered, body):
    return (200, {"Content-Type": "text/html"}, b"<html>") if path in ("/", "/metrics") else (status, answered, body)


def lets_nobody_in(path, headers, status, answered, body):
    return (401, answered, b'{"error": "Invalid token"}') if status == 200 else (status, answered, body)


def repeats_the_token(path, headers, status, answered, body):
    if b"Invalid" in body:
        body = json.dumps({"error": "Invalid token", "details": headers["Authorization"]}).encode()
    return status, answered, body


def says_nothing_of_a_challenge(path, headers, status, answered, body):
    return status, {name: value for name, value in answered.items() if name != "WWW-Authenticate"}, body


REFUSED = ["no token", "garbage", "alg: none", "a stranger's key"]


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (believes_anything, ["garbage", "alg: none", "a stranger's key"]),
        (answers_differently, REFUSED),
        (may_be_stored, [*REFUSED, "a valid token"]),
        (has_a_debug_page, ["no debug page"]),
        (has_everything_open, ["no console", "no metrics"]),
        (lets_nobody_in, ["a valid token"]),
        (repeats_the_token, ["alg: none", "a stranger's key"]),
        (says_nothing_of_a_challenge, REFUSED),
    ],
)
def test_what_is_wrong_is_found(application, wrong, found):
    with origin(application, wrong) as url:
        findings = OriginCheck(url, token=GATEWAY.token()).run()
        assert [finding.check.split(",")[0] for finding in findings if finding.passed is False] == found


def test_an_origin_that_is_not_there_is_told_and_no_traceback():
    *_, last = OriginCheck(f"http://127.0.0.1:{free_port()}").run()

    assert last.passed is False and last.found == "none: ConnectionError"


def drips(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X")
        time.sleep(0.05)


def says_that_it_is_compressed(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd")


@pytest.mark.parametrize(
    ("behave", "found"), [(drips, "none: not whole after 1 s"), (says_that_it_is_compressed, "none: DecodeError")]
)
def test_a_server_that_is_no_origin_is_told_in_time(monkeypatch, behave, found):
    monkeypatch.setattr("zuplo_origin.dev.origin_check.TIMEOUT", 1.0)

    def serve_one():
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            behave(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve_one)
        serving.start()
        *_, last = OriginCheck(f"http://127.0.0.1:{listening.getsockname()[1]}").run()
        serving.join()

    assert (last.passed, last.found) == (False, found)


@pytest.mark.parametrize(
    "asked",
    [
        {"url": "origin.example"},
        {"url": "http://["},
        {"url": "http://a:99999"},
        {"url": "http://user:pw@origin.example"},
        {"url": "http://origin.example/ "},
        {"path": "protected"},
        {"path": "@evil.example/"},
        {"header": "Ü x"},
        {"header": ""},
        {"scheme": "a b"},
        {"token": "a\r\nb"},
        {"token": "\udcff"},
    ],
)
def test_what_cannot_be_asked_for_is_told(asked):
    with pytest.raises(BadAddress):
        OriginCheck(**{"url": "http://origin.example"} | asked)


@pytest.mark.parametrize(
    "header", [{"alg": []}, {"alg": "HS256"}, {"alg": None, "kid": 5}, {"kid": {}}, {"kid": "\U0001f511"}]
)
def test_any_token_can_be_named(application, header):
    token = GATEWAY.token(header=header)
    with origin(application) as url:
        assert "a valid token" in failed(url, token)


def test_plain_http_is_wrong_beyond_this_machine():
    first = next(OriginCheck("http://origin.example").run())

    assert (first.check, first.passed, first.found) == ("TLS", False, "http")


def test_the_command_on_the_production_server(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    settings = {"JWT_ISSUER": GATEWAY.name, "JWT_AUDIENCE": "https://api.test/*"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        url = f"http://127.0.0.1:{server.port}"
        for arguments, status in (([url, "--token", GATEWAY.token()], 0), ([url, "--token", "a.b.c"], 1)):
            ended = craft(project, "origin:check", *arguments)
            assert (ended.returncode, ended.stderr) == (status, "")
            assert ("✗" in ended.stdout) == bool(status) and "✓" in ended.stdout


def says_what_it_likes(path, headers, status, answered, body):
    return status, answered, b'{"error": "<fg=nope>x</> \\u001b[31m"}'


def test_what_an_origin_says_is_printed_as_it_stands(application):
    with origin(application, says_what_it_likes) as url:
        ended = craft(PROJECT, "origin:check", url)

    assert (ended.returncode, ended.stderr) == (1, "")
    assert "<fg=nope>x</>" in ended.stdout and "\x1b" not in ended.stdout


def test_the_development_server_is_checked_with_tokens_of_its_own(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    with serve(project, tmp_path / "log") as server:
        ended = craft(project, "origin:check", f"http://127.0.0.1:{server.port}")

    lines = ended.stdout.splitlines()
    assert [line for line in lines if line.startswith("·")] == []
    assert [line.split()[1:3] for line in lines if line.startswith("✗")] == [["no", "console"]]
