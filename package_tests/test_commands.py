"""Craft commands, run as processes in a copy of the project."""

import http.client
import json
import os
import shutil
import signal
import socket
from dataclasses import asdict

import pytest

from package_tests.support.controllers import wait_until
from package_tests.support.processes import forked_python, python
from package_tests.support.project import copy_of_the_project, craft, issued_token, serve, start_craft
from package_tests.support.servers import Server, free_port
from package_tests.support.signing import ALGORITHMS, unb64
from zuplo_origin.craft import join_negative_numbers
from zuplo_origin.dev.commands.jwt_token import _json_or_text
from zuplo_origin.dev.issuer import BadKeyFile, Development, IssuerKeys, NotRunning


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def development(project, tmp_path_factory):
    settings = {"JWT_ALGORITHMS": ",".join(ALGORITHMS)}
    with serve(project, tmp_path_factory.mktemp("log") / "serve.log", **settings) as server:
        yield server


def claims_of(token):
    return json.loads(unb64(token.split(".")[1]))


def protected(server, token, **headers):
    return server.get("/protected", {"Authorization": f"Bearer {token}"} | headers)


# -- the development server --------------------------------------------------------------------------------------------


def test_protected_accepts_a_token_of_the_development_issuer(project, development):
    started = start_craft(project, "jwt:token")
    status, _, body = protected(development, started.stdout.strip())

    response = json.loads(body)
    assert (started.returncode, started.stderr) == (0, "")
    assert (status, response["message"], response["user"]["sub"]) == (200, "Access granted", "developer")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_protected_accepts_a_token_of_each_algorithm(project, development, algorithm):
    assert protected(development, issued_token(project, "--alg", algorithm))[0] == 200


def test_protected_rejects_a_request_without_a_token(development):
    status, _, body = development.get("/protected")

    assert (status, json.loads(body)) == (401, {"error": "No token provided"})


@pytest.mark.parametrize("ttl", [["--ttl", "-60"], ["--ttl=-60"]])
def test_jwt_token_prints_an_expired_token_with_a_negative_ttl(project, development, ttl):
    assert json.loads(protected(development, issued_token(project, *ttl))[2]) == {"error": "Token has expired"}


def test_jwt_token_sets_the_given_claims(project, development):
    arguments = ("--sub", "alice", "--scope", "read:orders write:orders", "--aud", "https://other/", "--ttl", "60")
    other_audience = issued_token(project, *arguments)
    scoped = issued_token(project, "--scope", "a b", "--scope", "c")
    more = issued_token(project, "--claim", "n=1", "--claim", 'o={"a": [true]}', "--claim", "account=acme")

    claims = claims_of(other_audience)
    assert (claims["sub"], claims["scope"], claims["aud"]) == ("alice", "read:orders write:orders", "https://other/")
    assert claims["exp"] - claims["iat"] == 60
    assert protected(development, other_audience)[0] == 401
    assert claims_of(scoped)["scope"] == "a b c"
    assert {name: claims_of(more)[name] for name in ("n", "o", "account")} == {
        "n": 1,
        "o": {"a": [True]},
        "account": "acme",
    }
    assert protected(development, more)[0] == 200


@pytest.mark.parametrize("arguments", [["--alg", "HS256"], ["--ttl", "soon"], ["--claim", "x"], ["--claim", "=1"]])
def test_jwt_token_fails_with_an_invalid_option(project, development, arguments):
    ended = craft(project, "jwt:token", *arguments)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("jwt:token: ") and "Traceback" not in ended.stderr


def test_serve_prints_its_address_and_example_requests(project, development):
    output = development.output()

    assert f"http://127.0.0.1:{development.port}" in output and "JWT_ISSUER" in output
    assert "curl -i " in output and "$(python craft jwt:token)" in output


def test_development_issuer_publishes_metadata_and_marked_keys_as_a_gateway_does(project, development):
    state = asdict(Development.running(str(project / "storage")))
    port = int(state["issuer"].split(":")[2].split("/")[0])
    assert state["issuer"] == f"http://127.0.0.1:{port}/__zuplo/development-issuer"

    issuer = Server.__new__(Server)
    issuer.port = port
    metadata = json.loads(issuer.get("/__zuplo/development-issuer/.well-known/openid-configuration")[2])
    keys = json.loads(issuer.get("/__zuplo/development-issuer/.well-known/jwks.json")[2])["keys"]

    assert metadata == {"issuer": state["issuer"], "jwks_uri": f"{state['issuer']}/.well-known/jwks.json"}
    assert {key["kty"] for key in keys} == {"OKP", "EC", "RSA"}
    assert all(key["kid"].startswith("development-") for key in keys)
    assert not any({"d", "p", "q"} & set(key) for key in keys)
    assert issuer.get("/")[0] == issuer.get("/__zuplo/development-issuer/../x")[0] == 404


def test_development_files_are_readable_by_their_owner_only(project, development):
    files = list((project / "storage/development").iterdir())

    assert len(files) >= 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "localhost", "", "[::1]"])
def test_serve_rejects_a_host_that_is_not_loopback(project, development, host):
    headers = {"Host": host.format(port=development.port)}
    status, _, body = protected(development, issued_token(project), **headers)

    assert (status, json.loads(body)) == (400, {"error": "Bad request"})
    assert f"rejected: Host is not 127.0.0.1:{development.port}" in development.output()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_serve_accepts_each_name_of_loopback(development, name):
    assert development.get("/health/live", {"Host": f"{name}:{development.port}"})[0] == 200


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "zp-rid"])
def test_serve_rejects_a_forwarded_request(project, development, header):
    assert protected(development, issued_token(project), **{header: "1"})[0] == 400


@pytest.mark.timeout(300)
def test_serve_accepts_an_issued_token_after_a_reload(project, tmp_path):
    with serve(project, tmp_path / "log") as server:
        issued = issued_token(project)
        assert protected(server, issued)[0] == 200
        controller = project / "app/controllers/ProtectedController.py"
        original = controller.read_text()
        controller.write_text(original.replace("Access granted", "Reloaded"))
        try:
            wait_until(lambda: b"Reloaded" in body_of(server, issued))
        finally:
            controller.write_text(original)


def body_of(server, token):
    try:
        return protected(server, token)[2]
    except (OSError, http.client.HTTPException):
        return b""


@pytest.mark.timeout(300)
def test_serve_prints_a_syntax_error_and_restarts_after_the_next_change(project, tmp_path):
    with serve(project, tmp_path / "log") as server:
        controller = project / "app/controllers/ProtectedController.py"
        original = controller.read_text()
        controller.write_text(original + "\ndef broken(\n")
        try:
            wait_until(lambda: "SyntaxError" in server.output())
        finally:
            controller.write_text(original)
        wait_until(lambda: is_live(server))


def is_live(server):
    try:
        return server.get("/health/live")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_serve_leaves_no_process_running_after_a_signal(project, tmp_path, development, number):
    with serve(project, tmp_path / "log") as server:
        server.process.send_signal(number)
        server.process.wait(20)
        wait_until(lambda: is_free(server.port))
        assert str(server.port) not in Development.running(str(project / "storage")).address


def test_serve_deletes_its_file_when_it_stops(project, tmp_path, development):
    before = Development.running(str(project / "storage"))
    with serve(project, tmp_path / "log", "--dont-reload") as server:
        assert protected(server, issued_token(project))[0] == 200
        assert Development.running(str(project / "storage")) != before

    assert Development.running(str(project / "storage")) == before


def test_jwt_token_fails_without_a_development_server(project, tmp_path):
    shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("storage"))
    ended = craft(tmp_path / "copy", "jwt:token")

    assert (ended.returncode, ended.stdout) == (1, "") and "no development server is running" in ended.stderr


def test_serve_fails_if_its_port_is_taken(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = craft(project, "serve", "--port", str(taken.getsockname()[1]))

    assert ended.returncode == 1 and "is taken" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["--port", "x"], ["--port", "0"], ["--port", "70000"], ["--host", "0.0.0.0"]])  # noqa: S104
def test_serve_fails_with_an_invalid_address(project, arguments):
    ended = craft(project, "serve", *arguments)

    assert ended.returncode == 1 and ended.stderr and "Traceback" not in ended.stderr


# -- other environments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ["production", "testing"])
def test_serve_fails_without_an_issuer_outside_development(project, environment):
    ended = craft(project, "serve", "--port", str(free_port()), APP_ENV=environment)

    assert ended.returncode == 1 and "JWT_ISSUER: not set" in ended.stderr


def test_jwt_token_fails_in_production(project, development):
    assert craft(project, "jwt:token", APP_ENV="production").returncode == 1


@pytest.mark.parametrize("environment", ["production", "local", "testing"])
def test_other_servers_do_not_start_without_an_issuer(project, development, environment):
    """Ignore the keys and the file of a running development server."""
    settings = {"APP_ENV": environment, "DEVELOPMENT_SERVER": "0"}
    ended = forked_python(project, "-m", "gunicorn", "-b", f"127.0.0.1:{free_port()}", "wsgi:application", **settings)

    assert ended.returncode != 0 and "JWT_ISSUER: not set" in ended.stderr


def test_serve_accepts_forwarded_requests_with_a_configured_issuer(project, tmp_path, issuer):
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*"}
    with serve(project, tmp_path / "log", **settings) as server:
        status, _, _ = protected(server, issuer.token(), Host="gateway.example", zp_rid="1")
        output = server.output()

    assert status == 200
    assert "development issuer" not in output


def test_env_file_is_read_by_craft_only_and_does_not_override_the_environment(project):
    (project / ".env").write_text("JWT_ISSUER=https://gw.example\nJWT_AUDIENCE=https://*\nJWT_LEEWAY=999\n")
    try:
        local = craft(project, "serve", JWT_LEEWAY="998")
        production = craft(project, "serve", APP_ENV="production")
        server = forked_python(project, "-c", "import wsgi")
    finally:
        os.remove(project / ".env")

    assert "'https://*'" in local.stderr and "'998'" in local.stderr
    assert "JWT_ISSUER: not set" in production.stderr
    assert "JWT_ISSUER: not set" in server.stderr


def test_routes_list_runs_without_settings(project):
    ended = craft(project, "routes:list", APP_ENV="production")

    assert ended.returncode == 0 and "/protected" in ended.stdout


def test_craft_runs_from_another_folder(project, tmp_path):
    ended = python(tmp_path, str(project / "craft"), "routes:list")

    assert ended.returncode == 0 and "/protected" in ended.stdout


# -- keys and files of the development issuer --------------------------------------------------------------------------


def test_issuer_keys_are_generated_once(tmp_path):
    path = tmp_path / "a" / "keys.json"
    first = IssuerKeys.load(path).public(["EdDSA"])

    assert IssuerKeys.load(path).public(["EdDSA"]) == first
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": [{}]}', '{"keys": 1}'])
def test_issuer_keys_reject_an_invalid_file(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)

    with pytest.raises(BadKeyFile, match="delete it"):
        IssuerKeys.load(path)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"address": 1}', '{"address": "", "issuer": "", "process": 4194305}']
)
def test_development_ignores_an_invalid_server_file(tmp_path, text):
    path = tmp_path / "development" / "server-1.json"
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(NotRunning):
        Development.running(str(tmp_path))


def test_development_returns_the_server_started_last(tmp_path):
    first = Development("http://127.0.0.1:1", "http://127.0.0.1:2/x", os.getpid())
    second = Development("http://127.0.0.1:3", "http://127.0.0.1:4/x", os.getppid())
    first.announce(str(tmp_path))
    os.utime(Development._file(str(tmp_path), first.process), (1, 1))
    second.announce(str(tmp_path))
    assert Development.running(str(tmp_path)) == second

    second.withdraw(str(tmp_path))
    assert Development.running(str(tmp_path)) == first


def test_negative_numbers_are_joined_to_their_options():
    assert join_negative_numbers(["c", "--ttl", "-60", "-n", "--a=b", "-5"]) == ["c", "--ttl=-60", "-n", "--a=b", "-5"]


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("a", "a"), ('"1"', "1"), ("null", None), ("[1", "[1")])
def test_claim_value_is_json_or_text(text, value):
    assert _json_or_text(text) == value
