"""HUP: a new server with the present code, configuration and settings, or else the running one."""

import json
import os
import signal
from contextlib import contextmanager

import pytest

from package_tests.support.controllers import (
    LIMIT,
    VERSION,
    project_with,
    reload,
    serving,
    start,
    wait_until,
    write_version,
)
from package_tests.support.servers import PROJECT, free_port, production

WSGI = (PROJECT / "wsgi.py").read_text()


@contextmanager
def version_server(folder, **settings):
    with serving(VERSION, folder, WEB_CONCURRENCY="2", **settings) as (server, project, issuer):
        server.project, server.issuer = project, issuer
        yield server


BAD_ROUTE = """
from masonite.routes import Route
from app.controllers.VersionController import VersionController

ROUTES = [Route.get("/bad/{id}", VersionController.show)]
"""


def events(server, name):
    lines = [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


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
    ("path", "text", "cause"),
    [
        ("app/controllers/VersionController.py", "this is no Python", "SyntaxError: invalid syntax"),
        ("config/providers.py", "raise RuntimeError('broken')", "config/providers.py:1: RuntimeError: broken"),
        ("config/jwt.py", "LEEWAY = 'abc'", "JWT_LEEWAY: invalid value 'abc'"),
        ("Kernel.py", "import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("wsgi.py", "import os; os._exit(3)", "the new server ended with status 1"),
        ("routes/web.py", BAD_ROUTE, "/bad/{id}: a parameter is spelled @id, not {id}"),
    ],
)
def test_running_server_continues_when_the_new_one_does_not_start(server, path, text, cause):
    file = server.project / path
    good, before = file.read_text(), server.workers()
    file.write_text(text)
    try:
        reload(server, "reload_failed")
    finally:
        file.write_text(good)

    assert server.workers() == before and server.get("/version")[0] == 200
    why = events(server, "reload_failed")[-1]["why"]
    assert cause in why and why.endswith("; the running server continues")


def test_running_server_continues_when_the_new_one_has_no_keys(server):
    before = server.workers()
    server.issuer.behave = lambda handler: handler.connection.close()
    try:
        reload(server, "reload_failed")
    finally:
        server.issuer.behave = None

    assert server.workers() == before
    assert "the new server has no keys, and the running server has" in server.output()


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "routes/web.py",
            BAD_ROUTE,
            "Cannot start: routes/web.py:5: /bad/{id}: a parameter is spelled @id, not {id}\n",
        ),
        ("wsgi.py", "raise RuntimeError('broken')", "Cannot start: wsgi.py:1: RuntimeError: broken\n"),
    ],
)
def test_application_that_does_not_load_is_one_message_at_start(tmp_path, file, text, expected):
    project = project_with(VERSION, tmp_path / "project")
    (project / file).write_text(text)
    server = start(project, tmp_path / "log", JWT_ISSUER="https://gw.example", WEB_CONCURRENCY="3")
    try:
        assert server.process.wait(LIMIT) == 1
    finally:
        server.__exit__()

    assert server.output() == expected


def test_replaced_server_is_logged_when_it_drains_and_when_it_has_ended(server):
    (old,) = server.children()
    stopped = len(events(server, "server_stopped"))
    reload(server)
    wait_until(lambda: len(events(server, "server_stopped")) > stopped)

    assert events(server, "server_ready")[0]["address"] == f"0.0.0.0:{server.port}"
    draining, ended = events(server, "server_draining")[-1], events(server, "server_stopped")[-1]
    assert (draining["pid"], draining["seconds"]) == (int(old), 2.0)
    assert (ended["pid"], ended["status"]) == (int(old), 0)


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
    good, died = file.read_text(), len(events(server, "worker_died"))
    file.write_text("import os; os._exit(3)")
    try:
        [worker, _] = sorted(server.workers())
        os.kill(int(worker), signal.SIGKILL)
        wait_until(lambda: len(events(server, "worker_died")) >= died + 4)
        delays = [event["restart_in"] for event in events(server, "worker_died")[died:]]
        assert delays[:4] == [0.0, 0.25, 0.5, 1.0]
        assert server.get("/version")[0] == 200  # by the other worker
    finally:
        file.write_text(good)
    wait_until(lambda: len(server.workers()) == 2)
