"""craft, as people use it: processes of their own, in a copy of the project."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from package_tests.support.project import copy_of_the_project, craft, serve
from package_tests.support.servers import Server, clean_environment, free_port
from package_tests.support.signing import ALGORITHMS, unb64
from zuplo_origin.craft import join_negative_numbers
from zuplo_origin.dev.commands.jwt_token import _json_or_text
from zuplo_origin.dev.issuer import BadKeyFile, Development, IssuerKeys, NotRunning


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, so that nothing is written into this one."""
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def development(project, tmp_path_factory):
    settings = {"JWT_ALGORITHMS": ",".join(ALGORITHMS)}
    with serve(project, tmp_path_factory.mktemp("log") / "serve.log", **settings) as server:
        yield server


def token(project, *arguments):
    ended = craft(project, "jwt:token", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", ended.stdout)
    return ended.stdout.strip()


def claims_of(token):
    return json.loads(unb64(token.split(".")[1]))


def protected(server, token, **headers):
    return server.get("/protected", {"Authorization": f"Bearer {token}"} | headers)


# -- development ------------------------------------------------------------------------------------------------------


def test_a_token_of_the_development_issuer_opens_the_controller(project, development):
    status, _, body = protected(development, token(project))

    answer = json.loads(body)
    assert (status, answer["message"], answer["user"]["sub"]) == (200, "Access granted", "developer")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_of_every_algorithm(project, development, algorithm):
    assert protected(development, token(project, "--alg", algorithm))[0] == 200


def test_without_a_token_there_is_no_way_in(development):
    status, _, body = development.get("/protected")

    assert (status, json.loads(body)) == (401, {"error": "No token provided"})


@pytest.mark.parametrize("ttl", [["--ttl", "-60"], ["--ttl=-60"]])
def test_an_expired_token_can_be_had(project, development, ttl):
    assert json.loads(protected(development, token(project, *ttl))[2]) == {"error": "Token has expired"}


def test_the_claims_of_a_token_can_be_chosen(project, development):
    chosen = token(
        project, "--sub", "alice", "--scope", "read:orders write:orders", "--aud", "https://other/", "--ttl", "60"
    )
    scoped = token(project, "--scope", "a b", "--scope", "c")
    assert claims_of(scoped)["scope"] == "a b c"
    more = token(project, "--claim", "n=1", "--claim", 'o={"a": [true]}', "--claim", "account=acme")

    claims = claims_of(chosen)
    assert (claims["sub"], claims["scope"], claims["aud"]) == ("alice", "read:orders write:orders", "https://other/")
    assert claims["exp"] - claims["iat"] == 60
    assert protected(development, chosen)[0] == 401
    assert {k: claims_of(more)[k] for k in ("n", "o", "account")} == {"n": 1, "o": {"a": [True]}, "account": "acme"}
    assert protected(development, more)[0] == 200


@pytest.mark.parametrize("arguments", [["--alg", "HS256"], ["--ttl", "soon"], ["--claim", "x"], ["--claim", "=1"]])
def test_what_makes_no_token_prints_none(project, development, arguments):
    ended = craft(project, "jwt:token", *arguments)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("jwt:token: ") and "Traceback" not in ended.stderr


def test_what_it_does_is_told_at_the_start(project, development):
    told = development.output()

    assert f"http://127.0.0.1:{development.port}" in told and "JWT_ISSUER" in told
    assert "curl -i " in told and "$(python craft jwt:token)" in told


def test_the_issuer_publishes_under_the_gateways_paths(project, development):
    state = asdict(Development.running(str(project / "storage")))
    port = int(state["issuer"].split(":")[2].split("/")[0])
    assert state["issuer"] == f"http://127.0.0.1:{port}/__zuplo/issuer"

    issuer = Server.__new__(Server)
    issuer.port = port
    metadata = json.loads(issuer.get("/__zuplo/issuer/.well-known/openid-configuration")[2])
    keys = json.loads(issuer.get("/__zuplo/issuer/.well-known/jwks.json")[2])["keys"]

    assert metadata == {"issuer": state["issuer"], "jwks_uri": f"{state['issuer']}/.well-known/jwks.json"}
    assert {key["kty"] for key in keys} == {"OKP", "EC", "RSA"}
    assert not any({"d", "p", "q"} & set(key) for key in keys)
    assert issuer.get("/")[0] == issuer.get("/__zuplo/issuer/../x")[0] == 404


def test_its_files_are_for_their_owner_alone(project, development):
    files = list((project / "storage/development").iterdir())

    assert len(files) >= 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "localhost", "", "[::1]"])
def test_another_host_than_this_machine_is_refused(project, development, host):
    headers = {"Host": host.format(port=development.port)}
    status, _, body = protected(development, token(project), **headers)

    assert (status, json.loads(body)) == (400, {"error": "Bad request"})
    assert f"development answers to Host 127.0.0.1:{development.port}" in development.output()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_this_machines_names_are_taken(development, name):
    assert development.get("/health/live", {"Host": f"{name}:{development.port}"})[0] == 200


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "zp-rid"])
def test_what_came_through_a_proxy_is_refused(project, development, header):
    assert protected(development, token(project), **{header: "1"})[0] == 400


def test_the_issuer_outlives_a_reload(project, tmp_path):
    with serve(project, tmp_path / "log") as server:
        minted = token(project)
        assert protected(server, minted)[0] == 200
        controller = project / "app/controllers/ProtectedController.py"
        original = controller.read_text()
        controller.write_text(original.replace("Access granted", "Reloaded"))
        try:
            end = time.monotonic() + 30
            body = b""
            while b"Reloaded" not in body and time.monotonic() < end:
                try:
                    body = protected(server, minted)[2]
                except (OSError, http.client.HTTPException):
                    time.sleep(0.1)
        finally:
            controller.write_text(original)

    assert b"Reloaded" in body


def test_a_broken_file_is_told_and_the_next_change_is_waited_for(project, tmp_path):
    with serve(project, tmp_path / "log") as server:
        controller = project / "app/controllers/ProtectedController.py"
        original = controller.read_text()
        controller.write_text(original + "\nthis is no Python\n")
        try:
            wait_for(lambda: "SyntaxError" in server.output())
        finally:
            controller.write_text(original)
        wait_for(lambda: answers(server))


def answers(server):
    try:
        return server.get("/health/live")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running(project, tmp_path, development, number):
    with serve(project, tmp_path / "log") as server:
        server.process.send_signal(number)
        server.process.wait(20)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", server.port)):
                    break
            time.sleep(0.05)
        else:
            pytest.fail("the port is still taken")
        assert str(server.port) not in Development.running(str(project / "storage")).address


def test_it_tells_where_it_is_gone(project, tmp_path, development):
    before = Development.running(str(project / "storage"))
    with serve(project, tmp_path / "log", "--dont-reload") as server:
        assert protected(server, token(project))[0] == 200
        assert Development.running(str(project / "storage")) != before

    assert Development.running(str(project / "storage")) == before


def test_without_a_server_no_token_is_minted(project, tmp_path):
    shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("storage"))
    ended = craft(tmp_path / "copy", "jwt:token")

    assert (ended.returncode, ended.stdout) == (1, "") and "no development server is running" in ended.stderr


def test_a_port_that_is_taken_is_told(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = craft(project, "serve", "--port", str(taken.getsockname()[1]))

    assert ended.returncode == 1 and "is taken" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["--port", "x"], ["--port", "0"], ["--port", "70000"], ["--host", "0.0.0.0"]])  # noqa: S104
def test_where_it_cannot_serve_is_told(project, arguments):
    ended = craft(project, "serve", *arguments)

    assert ended.returncode == 1 and ended.stderr and "Traceback" not in ended.stderr


# -- not development --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ["production", "testing"])
def test_elsewhere_there_is_no_development_issuer(project, environment):
    ended = craft(project, "serve", "--port", str(free_port()), APP_ENV=environment)

    assert ended.returncode == 1 and "JWT_ISSUER: not set" in ended.stderr


def test_in_production_no_token_is_minted(project, development):
    assert craft(project, "jwt:token", APP_ENV="production").returncode == 1


@pytest.mark.parametrize("environment", ["production", "local", "testing"])
def test_another_server_does_not_start_without_an_issuer(project, development, environment):
    """Not even beside a development server, with its key and its state at hand."""
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{free_port()}", "wsgi:application"],
        cwd=project,
        env=clean_environment(APP_ENV=environment, DEVELOPMENT_SERVER="0"),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode != 0 and "JWT_ISSUER: not set" in ended.stderr


def test_with_an_issuer_of_ones_own_nothing_of_development_is_there(project, tmp_path, issuer):
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*"}
    with serve(project, tmp_path / "log", **settings) as server:
        answered = protected(server, issuer.token(), Host="gateway.example", zp_rid="1")
        output = server.output()

    assert answered[0] == 200
    assert "of its own" not in output


def test_the_file_of_settings_is_read_by_craft_alone_and_overrides_nothing(project):
    (project / ".env").write_text("JWT_ISSUER=https://gw.example\nJWT_AUDIENCE=https://*\nJWT_LEEWAY=999\n")
    try:
        seen = craft(project, "serve", JWT_LEEWAY="998")
        ignored = craft(project, "serve", APP_ENV="production")
        server = subprocess.run(
            [sys.executable, "-c", "import wsgi"],
            cwd=project,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.remove(project / ".env")

    assert "'https://*'" in seen.stderr and "'998'" in seen.stderr
    assert "JWT_ISSUER: not set" in ignored.stderr
    assert "JWT_ISSUER: not set" in server.stderr


def test_commands_that_need_no_settings_need_none(project):
    ended = craft(project, "routes:list", APP_ENV="production")

    assert ended.returncode == 0 and "/protected" in ended.stdout


def test_it_works_from_any_folder(project, tmp_path):
    ended = subprocess.run(
        [sys.executable, str(project / "craft"), "routes:list"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 0 and "/protected" in ended.stdout


# -- the parts --------------------------------------------------------------------------------------------------------


def test_keys_are_made_once(tmp_path):
    path = tmp_path / "a" / "keys.json"
    first = IssuerKeys.load(path).public(["EdDSA"])

    assert IssuerKeys.load(path).public(["EdDSA"]) == first
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": [{}]}', '{"keys": 1}'])
def test_a_file_that_holds_no_keys_is_told(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)

    with pytest.raises(BadKeyFile, match="delete it"):
        IssuerKeys.load(path)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"address": 1}', '{"address": "", "issuer": "", "process": 4194305}']
)
def test_a_state_that_is_none_is_no_server(tmp_path, text):
    path = tmp_path / "development" / "server-1.json"
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(NotRunning):
        Development.running(str(tmp_path))


def test_of_several_servers_the_last_is_meant_and_none_takes_the_others_away(tmp_path):
    first = Development("http://127.0.0.1:1", "http://127.0.0.1:2/x", os.getpid())
    second = Development("http://127.0.0.1:3", "http://127.0.0.1:4/x", os.getppid())
    first.announce(str(tmp_path))
    os.utime(Development._file(str(tmp_path), first.process), (1, 1))
    second.announce(str(tmp_path))
    assert Development.running(str(tmp_path)) == second

    second.withdraw(str(tmp_path))
    assert Development.running(str(tmp_path)) == first


def test_negative_numbers_are_values():
    assert join_negative_numbers(["c", "--ttl", "-60", "-n", "--a=b", "-5"]) == ["c", "--ttl=-60", "-n", "--a=b", "-5"]


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("a", "a"), ('"1"', "1"), ("null", None), ("[1", "[1")])
def test_claim_values_are_json_where_they_can_be(text, value):
    assert _json_or_text(text) == value
