"""The commands in a terminal: the banner, the lines of requests, colours, and what they never contain."""

import http.client
import io
import json
import os
import re

import pytest

from package_tests.support.controllers import wait_until
from package_tests.support.processes import forked_python
from package_tests.support.project import copy_of_the_project, craft, issued_token
from package_tests.support.terminals import SGR, TerminalServer
from zuplo_origin.commands.style import Painter, has_colours, progress, visible

CONTROLLER = """
import logging

from masonite.controllers import Controller
from masonite.request import Request
from pydantic import BaseModel

from zuplo_origin.http import HttpException


class Note(BaseModel):
    text: str


class NotesController(Controller):
    def store(self, note: Note):
        return {"text": note.text}

    def conflict(self, request: Request):
        raise HttpException(409, request.input("text"))

    def raises(self):
        raise HttpException(418)

    def returns(self):
        return {"error": "no"}, 410

    def breaks(self, request: Request):
        raise RuntimeError(request.input("text"))

    def logs(self, request: Request):
        logging.getLogger("app.notes").warning("received %s", request.input("text"))
        return {}
"""
ROUTES = """
from app.controllers.NotesController import NotesController

ROUTES += [
    Route.post("/notes", NotesController.store).middleware("jwt:write:notes"),
    Route.post("/conflict", NotesController.conflict).middleware("public"),
    Route.get("/raises", NotesController.raises).middleware("public"),
    Route.get("/returns", NotesController.returns).middleware("public"),
    Route.post("/breaks", NotesController.breaks).middleware("public"),
    Route.post("/logs", NotesController.logs).middleware("public"),
]
"""
HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\u202eevil\r\n12:00:00  200  GET /forged\x00"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_of_the_project(tmp_path_factory.mktemp("project"))
    (project / "app/controllers/NotesController.py").write_text(CONTROLLER)
    with open(project / "routes/web.py", "a") as routes:
        routes.write(ROUTES)
    return project


@pytest.fixture(scope="module")
def server(project, tmp_path_factory):
    with TerminalServer(project, tmp_path_factory.mktemp("log") / "log", "--dont-reload") as server:
        wait_until(lambda: "jwks_first_keys" in server.output())
        yield server


def send(server, method, path, body=None, **headers):
    """Send a request, and return the lines that it added."""
    before = len(server.lines())
    payload = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if body is not None else {}
    status = server.get(path, sent | headers, method, payload)[0]
    wait_until(lambda: any(re.match(rf"\d\d:\d\d:\d\d  {status}  ", line) for line in server.lines()[before:]))
    return server.lines()[before:]


def bearer(project, *arguments):
    return {"Authorization": f"Bearer {issued_token(project, *arguments)}"}


def test_banner_has_the_addresses_and_two_commands_to_try(server):
    banner = "\n".join(server.lines()).split("jwks_first_keys")[0]

    url = f"http://127.0.0.1:{server.port}"
    assert re.search(rf"API +{url}\n", banner) and re.search(rf"Console +{url}/#[\w-]{{43}}\n", banner)
    assert re.search(r"Issuer +http://127.0.0.1:\d+/__zuplo/development-issuer", banner)
    assert f"$ curl -i {url}/protected\n" in banner
    assert f'$ curl -i -H "Authorization: Bearer $(python craft jwt:token)" {url}/protected\n' in banner
    assert len(banner.splitlines()) < 16 and "\x1b[1;32m" in server.output()


def test_accepted_request_is_one_green_line(project, server):
    (line,) = send(server, "GET", "/protected", **bearer(project))

    assert re.fullmatch(r"\d\d:\d\d:\d\d  200  GET      /protected +\d+\.\d ms", line)
    assert "\x1b[32m200\x1b[0m" in server.output()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (("GET", "/protected"), "no_token: No token provided"),
        (("GET", "/nothing/here"), "no route matches '/nothing/here'"),
        (("DELETE", "/protected"), "'/protected' has GET, HEAD, OPTIONS, not DELETE"),
        (("GET", "/protected/%0a"), "the path contains a control character"),
        (("POST", "/conflict", {"text": "there is one"}), "there is one"),
        (("GET", "/raises"), "raised by raises, app/controllers/NotesController.py:"),
        (("GET", "/returns"), "responded by NotesController@returns or a middleware"),
    ],
)
def test_rejected_request_is_one_line_with_its_reason(server, request_, expected):
    (line,) = send(server, *request_)

    assert re.match(r"\d\d:\d\d:\d\d  4\d\d  ", line) and expected in line


def test_missing_scope_is_named(project, server):
    (line,) = send(server, "POST", "/notes", {"text": "x"}, **bearer(project, "--scope", "read:notes"))

    assert "403  POST     /notes" in line and "insufficient_scope" in line and "(write:notes)" in line


def test_faults_of_a_body_are_in_the_line(project, server):
    (line,) = send(server, "POST", "/notes", {"text": 1}, **bearer(project, "--scope", "write:notes"))

    assert "422  POST     /notes" in line and "text: " in line


def test_host_that_is_not_loopback_is_the_reason(server):
    (line,) = send(server, "GET", "/protected", Host="evil.example")

    assert line.endswith(f"Host is not 127.0.0.1:{server.port} or localhost:{server.port}")


@pytest.mark.parametrize("path", ["/conflict", "/logs", "/breaks"])
def test_text_of_a_client_is_escaped(server, path):
    before = len(server.output())
    send(server, "POST", path, {"text": HOSTILE})

    printed = SGR.sub("", server.output()[before:])
    assert "evil" in printed and "forged" in printed
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", printed)
    assert not re.search(r"^12:00:00  200  GET /forged", printed, re.MULTILINE)


def test_path_and_header_of_a_client_are_escaped(project, server):
    before = len(server.output())
    send(server, "GET", "/x%e2%80%ae%c2%a0")
    server.raw(
        b"POST /conflict HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: text/\x1b[2Jplain\r\nContent-Length: 1\r\n"
        b"Connection: close\r\n\r\nx" % server.port
    )
    wait_until(lambda: "415" in server.output()[before:])

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\xa0]", SGR.sub("", server.output()[before:]))


def test_line_has_nothing_of_a_token(project, server):
    token = issued_token(project)
    send(server, "GET", f"/protected?access_token={token}", Authorization=f"Bearer {token}")
    send(server, "GET", f"/x/{token}")
    send(server, "GET", f"/{token[:-9]}")
    send(server, "GET", "/protected", Authorization=f"Bearer {token[:-9]}AAAAAAAAA")
    send(server, "POST", "/conflict", {"text": f"the token is {token}"})

    for segment in token.split("."):
        assert segment[:12] not in server.output()


def test_unhandled_exception_is_printed_with_its_traceback_and_id(server):
    lines = send(server, "POST", "/breaks", {"text": "gone"})

    assert "unhandled_exception" in lines[0] and "  | RuntimeError: gone" in lines
    assert re.search(r"500  POST     /breaks .* rid=[0-9a-f]{32}$", lines[-1])


# -- restarts ----------------------------------------------------------------------------------------------------------


def status_of(server, path="/protected", token=""):
    try:
        return server.get(path, {"Authorization": f"Bearer {token}"})[0]
    except (OSError, http.client.HTTPException):
        return None


@pytest.mark.timeout(300)
def test_changed_env_file_restarts_the_server(tmp_path):
    """Create it, break it, repair it with an issuer, and delete it."""
    project = copy_of_the_project(tmp_path / "project")
    with TerminalServer(project, tmp_path / "log", NO_COLOR="1") as server:
        console = re.search(r"Console +(\S+)", server.output())[1]

        (project / ".env").write_text("APP_NAME=Second\n")
        wait_until(lambda: "  Second  " in server.output())
        assert ".env has changed" in server.output()
        wait_until(lambda: status_of(server, token=issued_token(project)) == 200)

        (project / ".env").write_text("JWT_LEEWAY=abc\n")
        wait_until(lambda: "Waiting until .env changes" in server.output())
        assert "JWT_LEEWAY: invalid value 'abc'; expected a number from 0 to 300" in server.output()

        (project / ".env").write_bytes("APP_KEY=a\nAPP_NAME=B\u00fcro\n".encode("latin-1"))
        wait_until(lambda: "Cannot start: .env:2: not UTF-8\n" in server.output())
        assert "Traceback" not in server.output()

        (project / ".env").write_text("JWT_ISSUER=http://127.0.0.1:9/issuer\nJWT_AUDIENCE=orders\n")
        wait_until(lambda: re.search(r"Issuer +http://127.0.0.1:9/issuer", server.output()))
        wait_until(lambda: status_of(server, "/health/live") == 200)
        assert status_of(server, "/") == 404  # the console is gone with the development issuer

        os.remove(project / ".env")
        wait_until(lambda: server.output().count(console) == 3)
        wait_until(lambda: status_of(server, token=issued_token(project)) == 200)
        assert "\x1b" not in server.output()

        server.process.terminate()
        server.process.wait(20)
        wait_until(lambda: status_of(server) is None)


# -- colours -----------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "expected"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "0"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colours_follow_the_environment_and_the_stream(monkeypatch, stream, variables, expected):
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert has_colours(stream) is expected


def test_commands_have_colours_with_force_color_alone(project, server):
    token = issued_token(project)
    plain, coloured = (craft(project, "jwt:inspect", token, **given) for given in ({}, {"FORCE_COLOR": "1"}))

    assert "\x1b" not in plain.stdout and "\x1b[32m✓\x1b[0m" in coloured.stdout
    assert SGR.sub("", coloured.stdout) == plain.stdout
    keys = craft(project, "jwks:show", FORCE_COLOR="1")
    assert keys.returncode == 0 and "\x1b[" in keys.stdout
    assert "\x1b" not in craft(project, "jwks:show", "--no-ansi", FORCE_COLOR="1").stdout


@pytest.mark.parametrize("enabled", [True, False])
def test_painter_escapes_what_a_terminal_obeys(enabled):
    painted = SGR.sub("", Painter(enabled)(HOSTILE + " é ✓", "red"))

    assert painted == visible(HOSTILE + " é ✓")
    assert all(each == "\n" or each.isprintable() for each in painted) and painted.endswith(" é ✓")


def test_progress_is_shown_in_a_terminal_and_removed(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with progress(stream, "fetching"):
            during = stream.getvalue()
        assert ("fetching" in during) is stream.isatty()

    assert terminal.getvalue().endswith("\r\x1b[K") and pipe.getvalue() == ""


# -- help --------------------------------------------------------------------------------------------------------------

PROGRAM = """
import json, shlex, sys
from pathlib import Path
from cleo.io.inputs.argv_input import ArgvInput
from zuplo_origin.commands.examples import EXAMPLES, examples_of
from zuplo_origin.craft import join_negative_numbers, load_application, prepare_environment
sys.argv = ["craft"]
prepare_environment(Path.cwd(), "")
commands = load_application(Path.cwd()).make("commands").commands
problems = sorted({command.name for command in commands} ^ set(EXAMPLES))
for command in commands:
    assert "Examples:" in command.processed_help, command.name
    command.merge_application_definition()
    for example in examples_of(command.name):
        if "$(" not in example and "|" not in example:
            words = join_negative_numbers(shlex.split(example))
            given = ArgvInput(words[words.index("craft"):])
            try:
                given.bind(command.definition)
                given.validate()
            except Exception as error:
                problems.append(f"{example}: {error}")
print(json.dumps(problems))
"""


def test_every_command_has_examples_that_its_options_accept(project):
    ended = forked_python(project, "-c", PROGRAM)

    assert json.loads(ended.stdout or "null") == [], ended.stderr


def test_help_prints_the_examples_as_they_are_typed(project):
    printed = craft(project, "jwt:token", "--help").stdout

    assert (
        """  python craft jwt:token --alg RS256 --claim role=admin --claim 'realm_access={"roles": ["buyer"]}'"""
        in printed
    )
