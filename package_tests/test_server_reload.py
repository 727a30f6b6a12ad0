"""HUP: a new server with the present code, configuration and settings, or else the running one."""

import json
import os
import signal
from contextlib import contextmanager

import pytest

from package_tests.support.controllers import LIMIT, VERSION, reload, serving, start, wait_until, write_version
from package_tests.support.servers import PROJECT, free_port, production

WSGI = (PROJECT / "wsgi.py").read_text()


@contextmanager
def version_server(folder, **settings):
    with serving(VERSION, folder, WEB_CONCURRENCY="2", **settings) as (server, project, issuer):
        server.project, server.issuer = project, issuer
        yield server


def version(server):
    return json.loads(server.get("/version")[2])["version"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with version_server(tmp_path_factory.mktemp("reload"), JWKS_TIMEOUT="2") as running:
        yield running


def test_new_code_serves_after_a_reload(server):
    before = server.workers()
    write_version(server.project, 2)
    reload(server)

    assert version(server) == 2
    assert not before & server.workers() and len(server.workers()) == 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("app/controllers/VersionController.py", "this is not Python"),
        ("config/providers.py", "raise RuntimeError('broken')"),
        ("config/jwt.py", "LEEWAY = 'abc'"),
        ("Kernel.py", "import no_such_module"),
        ("wsgi.py", "import os; os._exit(3)"),
    ],
)
def test_running_server_continues_when_the_new_one_does_not_start(server, path, text):
    file = server.project / path
    good, before = file.read_text(), server.workers()
    file.write_text(text)
    try:
        reload(server, "reload_failed")
    finally:
        file.write_text(good)

    assert server.workers() == before and server.get("/version")[0] == 200
    assert "the running server continues" in server.output()


def test_running_server_continues_when_the_new_one_has_no_keys(server):
    before = server.workers()
    server.issuer.behave = lambda handler: handler.connection.close()
    try:
        reload(server, "reload_failed")
    finally:
        server.issuer.behave = None

    assert server.workers() == before
    assert "the new server has no keys, and the running server has" in server.output()


def test_second_hup_waits_for_the_first_reload(server):
    done = server.output().count("reload_done")
    for _ in range(2):
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.children()) > 1)
    wait_until(lambda: server.output().count("reload_done") == done + 2 and len(server.children()) == 1)

    assert version(server) == 2


def test_env_file_is_read_again_in_a_reload(tmp_path):
    env_file = tmp_path / "settings"
    env_file.write_text("JWT_REALM=first\n")
    with version_server(tmp_path, ENV_FILE=str(env_file)) as server:
        assert 'realm="first"' in server.get("/protected")[1]["www-authenticate"]
        env_file.write_text("# changed\nJWT_REALM='second $HOME'\nWEB_CONCURRENCY=1\n")
        reload(server)
        assert 'realm="second $HOME"' in server.get("/protected")[1]["www-authenticate"]
        assert len(server.workers()) == 1
        env_file.unlink()
        reload(server, "reload_failed")
        assert len(server.workers()) == 1 and "No such file" in server.output()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("PORT={port}", "restart the server to change them"),
        ("HEALTH_PORT={port}", "restart the server to change them"),
        ("JWT_AUDIENCE", "line 2: not NAME=value"),
        ("= = 'x", "line 2: not NAME=value"),
    ],
)
def test_running_server_continues_when_the_env_file_is_invalid(tmp_path, line, expected):
    env_file = tmp_path / "env"
    env_file.write_text("WEB_THREADS=4\n")
    with version_server(tmp_path, ENV_FILE=str(env_file)) as server:
        env_file.write_text(f"WEB_THREADS=4\n{line.format(port=free_port())}\n")
        reload(server, "reload_failed")
        assert expected in server.output()
        assert version(server) == 1


def test_missing_env_file_is_an_error_at_start(tmp_path):
    server = production(free_port(), tmp_path / "log", JWT_ISSUER="https://gw.example", ENV_FILE=str(tmp_path / "none"))
    try:
        assert server.process.wait(LIMIT) == 1
        assert "No such file" in server.output() and "Traceback" not in server.output()
    finally:
        server.__exit__()


def test_server_that_dies_is_replaced(server):
    [process] = server.children()
    ready = server.output().count("server_ready")
    os.kill(int(process), signal.SIGKILL)
    wait_until(lambda: server.output().count("server_ready") == ready + 1)
    assert "server_died" in server.output() and process not in server.children()
    assert len(server.workers()) == 2 and server.get("/version")[0] == 200


DIES_IN_ONE_WORKER = """
import multiprocessing, os
if multiprocessing.current_process().name == "worker-3":
    os._exit(3)
"""


def test_first_server_ends_when_one_of_its_workers_does_not_start(tmp_path):
    with version_server(tmp_path) as server:
        (server.project / "wsgi.py").write_text(DIES_IN_ONE_WORKER + WSGI)
        broken = start(server.project, tmp_path / "log2", JWT_ISSUER=server.issuer.name, WEB_CONCURRENCY="8")
        try:
            assert broken.process.wait(LIMIT) == 1
        finally:
            broken.__exit__()


def test_workers_that_do_not_start_are_restarted_with_a_back_off(server):
    file = server.project / "wsgi.py"
    good, died = file.read_text(), server.output().count("worker_died")
    file.write_text("import os; os._exit(3)")
    try:
        [worker, _] = sorted(server.workers())
        os.kill(int(worker), signal.SIGKILL)
        wait_until(lambda: server.output().count("worker_died") >= died + 4)
        delays = [json.loads(line)["restart_in"] for line in server.output().splitlines() if '"worker_died"' in line]
        assert delays[died : died + 4] == [0.0, 0.25, 0.5, 1.0]
        assert server.get("/version")[0] == 200  # by the other worker
    finally:
        file.write_text(good)
    wait_until(lambda: len(server.workers()) == 2)
