"""HUP: the code, the configuration and the settings of now, or the server that runs."""

import json
import os
import signal
import sys
import time
from contextlib import contextmanager

import pytest

from package_tests.support.issuer import Issuer
from package_tests.support.project import copy_of_the_project
from package_tests.support.servers import PROJECT, Server, free_port, production

WSGI = (PROJECT / "wsgi.py").read_text()
CONTROLLER = """
from masonite.controllers import Controller


class VersionController(Controller):
    def show(self):
        return {"version": VERSION}
"""
ROUTE = """
from app.controllers.VersionController import VersionController

ROUTES.append(Route.get("/version", VersionController.show))
"""


@contextmanager
def serving(folder, **more):
    project = copy_of_the_project(folder / "project")
    write(project, "1")
    with open(project / "routes/web.py", "a") as routes:
        routes.write(ROUTE)
    issuer, port = Issuer(), free_port()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "WEB_CONCURRENCY": "2"}
    with Server(
        [sys.executable, "-m", "zuplo_origin.server"], port, folder / "log", settings | more, project
    ) as server:
        server.project, server.issuer = project, issuer
        wait_until(lambda: "server_ready" in server.output())
        yield server
    issuer.close()


def write(project, version):
    (project / "app/controllers/VersionController.py").write_text(CONTROLLER.replace("VERSION", version))


def version(server):
    return json.loads(server.get("/version")[2])["version"]


def wait_until(condition, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def reload(server, outcome, times=1):
    """Send HUP, and wait until the log has `outcome` for the n-th time, and one server is left."""
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.output().count(outcome) == times and len(server.children()) == 1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("reload"), JWKS_TIMEOUT="2") as running:
        yield running


def test_new_code_answers_after_a_reload(server):
    before = server.workers()
    write(server.project, "2")
    reload(server, "reload_done")

    assert version(server) == 2
    assert not before & server.workers() and len(server.workers()) == 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("app/controllers/VersionController.py", "this is no Python"),
        ("config/providers.py", "raise RuntimeError('broken')"),
        ("config/jwt.py", "LEEWAY = 'abc'"),
        ("Kernel.py", "import no_such_module"),
        ("wsgi.py", "import os; os._exit(3)"),
    ],
)
def test_code_that_does_not_start_leaves_the_running_server(server, path, text):
    file = server.project / path
    good, failures, before = file.read_text(), server.output().count("reload_failed"), server.workers()
    file.write_text(text)
    try:
        reload(server, "reload_failed", failures + 1)
    finally:
        file.write_text(good)

    assert server.workers() == before and server.get("/version")[0] == 200
    assert "the running server goes on" in server.output()


def test_a_server_without_keys_does_not_replace_one_with_keys(server):
    failures, before = server.output().count("reload_failed"), server.workers()
    server.issuer.behave = lambda handler: handler.connection.close()
    try:
        reload(server, "reload_failed", failures + 1)
    finally:
        server.issuer.behave = None

    assert server.workers() == before
    assert "it has no keys, and the running server has" in server.output()


def test_a_second_hup_waits_for_the_first(server):
    done = server.output().count("reload_done")
    for _ in range(2):
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.children()) > 1)
    wait_until(lambda: server.output().count("reload_done") == done + 2 and len(server.children()) == 1)

    assert version(server) == 2


def test_settings_of_the_env_file_are_read_again(tmp_path):
    env_file = tmp_path / "settings"
    env_file.write_text("JWT_REALM=first\n")
    with serving(tmp_path, ENV_FILE=str(env_file)) as server:
        assert 'realm="first"' in server.get("/protected")[1]["www-authenticate"]
        env_file.write_text("# changed\nJWT_REALM='second $HOME'\nWEB_CONCURRENCY=1\n")
        reload(server, "reload_done")
        assert 'realm="second $HOME"' in server.get("/protected")[1]["www-authenticate"]
        assert len(server.workers()) == 1
        env_file.unlink()
        reload(server, "reload_failed")
        assert len(server.workers()) == 1 and "No such file" in server.output()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("PORT={port}", "are changed by a restart alone"),
        ("HEALTH_PORT={port}", "are changed by a restart alone"),
        ("JWT_AUDIENCE", "line 2: not NAME=value"),
        ("= = 'x", "line 2: not NAME=value"),
    ],
)
def test_an_env_file_that_cannot_be_meant_leaves_the_running_server(tmp_path, line, expected):
    env_file = tmp_path / "env"
    env_file.write_text("WEB_THREADS=4\n")
    with serving(tmp_path, ENV_FILE=str(env_file)) as server:
        env_file.write_text(f"WEB_THREADS=4\n{line.format(port=free_port())}\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload_failed" in server.output())
        assert expected in server.output()
        assert version(server) == 1


def test_an_env_file_that_is_missing_is_a_problem_at_start(tmp_path):
    server = production(free_port(), tmp_path / "log", JWT_ISSUER="https://gw.example", ENV_FILE=str(tmp_path / "none"))
    assert server.process.wait(20) == 1
    server.__exit__()
    assert "No such file" in server.output() and "Traceback" not in server.output()


def test_a_server_that_dies_is_replaced(server):
    [process] = server.children()
    ready = server.output().count("server_ready")
    os.kill(int(process), signal.SIGKILL)
    wait_until(lambda: server.children() not in ([process], []) and "server_died" in server.output())
    wait_until(lambda: server.output().count("server_ready") == ready + 1)
    assert len(server.workers()) == 2 and server.get("/version")[0] == 200


DIES_IN_ONE_WORKER = """
import multiprocessing, os
if multiprocessing.current_process().name == "worker-3":
    os._exit(3)
"""


def test_a_worker_that_dies_as_the_first_server_starts_ends_it(tmp_path):
    with serving(tmp_path) as server:
        (server.project / "wsgi.py").write_text(DIES_IN_ONE_WORKER + WSGI)
        port = free_port()
        settings = {"JWT_ISSUER": server.issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "WEB_CONCURRENCY": "8"}
        command = [sys.executable, "-m", "zuplo_origin.server"]
        half_broken = Server(command, port, tmp_path / "log2", settings, server.project)
        try:
            assert half_broken.process.wait(30) == 1
        finally:
            half_broken.__exit__()


def test_workers_that_die_again_and_again_are_restarted_with_a_back_off(server):
    file = server.project / "wsgi.py"
    good, died = file.read_text(), server.output().count("worker_died")
    file.write_text("import os; os._exit(3)")
    try:
        [worker, _] = sorted(server.workers())
        os.kill(int(worker), signal.SIGKILL)
        wait_until(lambda: server.output().count("worker_died") >= died + 4)
        delays = [json.loads(line)["restart_in"] for line in server.output().splitlines() if '"worker_died"' in line]
        assert delays[died : died + 4] == [0.0, 0.25, 0.5, 1.0]
        assert server.get("/version")[0] == 200  # by the other one
    finally:
        file.write_text(good)
    wait_until(lambda: len(server.workers()) == 2)
