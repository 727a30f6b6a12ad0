"""The production server: stops, reloads, and processes that die, while clients send requests."""

import ctypes
import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from package_tests.support.controllers import LIMIT, connect, wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.production import SETTINGS, Clients, bearer, ready_server
from package_tests.support.servers import free_port, production, wait_until_listening

STOP_SECONDS = 14
"""Time in which a server must have ended after TERM: 2 s of SHUTDOWN_DRAIN, 10 s, and 2 s for a loaded machine."""


@pytest.fixture(scope="module")
def gateway():
    issuer = Issuer()
    yield issuer
    issuer.close()


def timed_stop(server):
    """Wait until the server has ended, and return the seconds that it took."""
    began = time.monotonic()
    server.process.wait(LIMIT)
    return time.monotonic() - began


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
def test_term_fails_no_accepted_request(gateway, tmp_path, header):
    with ready_server(gateway, tmp_path, JWT_HEADER=header) as server:
        clients = Clients(server.port, gateway.token(), leave=True)
        with connect(server.port) as unfinished:
            unfinished.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
            clients.wait_for_responses()
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.get("/health/ready")[0] == 503)
            unfinished.sendall(b"\r\n")
            response = unfinished.recv(65536)
        seconds = timed_stop(server)
        clients.stop()

    assert (server.process.returncode, clients.failures) == (0, []) and seconds < STOP_SECONDS
    assert set(clients.statuses) == {200 if header == "Authorization" else 401}
    assert response.startswith(b"HTTP/1.1 200")


def test_term_to_all_processes_at_once_drains_the_server(gateway, tmp_path):
    with ready_server(gateway, tmp_path) as server:
        clients = Clients(server.port, gateway.token(), leave=True)
        clients.wait_for_responses()
        for process in [*server.workers(), *server.children(), server.process.pid]:
            os.kill(int(process), signal.SIGTERM)
        server.process.wait(LIMIT)
        clients.stop()

    assert (server.process.returncode, clients.failures) == (0, [])


def test_term_stops_the_server_when_the_kernel_delivers_it_to_another_thread(gateway, tmp_path):
    settings = {"METRICS_ENABLED": "true", "METRICS_PORT": str(free_port())}
    with ready_server(gateway, tmp_path, **settings) as server:
        threads = f"/proc/{server.process.pid}/task"
        wait_until(lambda: len(os.listdir(threads)) > 1)  # the metrics port has one
        _, metrics, *_ = sorted(map(int, os.listdir(threads)))
        assert ctypes.CDLL(None).tgkill(server.process.pid, metrics, signal.SIGTERM) == 0
        server.process.wait(LIMIT)

    assert server.process.returncode == 0


def test_processes_that_are_suspended_while_they_drain_end_nevertheless(gateway, tmp_path):
    with ready_server(gateway, tmp_path, SHUTDOWN_DRAIN="1") as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/health/ready")[0] == 503)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in [*server.workers(), *server.children()]:
                os.kill(int(process), number)
            if number == signal.SIGSTOP:
                time.sleep(2)  # longer than SHUTDOWN_DRAIN
        seconds = timed_stop(server)

    assert server.process.returncode == 0 and seconds < STOP_SECONDS


def test_servers_and_workers_end_when_the_supervisor_is_killed(gateway, tmp_path):
    with ready_server(gateway, tmp_path) as server:
        children = [*server.workers(), *server.children()]
        with connect(server.port) as unfinished:
            unfinished.sendall(b"GET /health/live HTTP/1.1\r\n")
            server.process.kill()
            server.process.wait(LIMIT)

            def have_ended():
                for child in children:
                    with suppress(ProcessLookupError):
                        os.kill(int(child), signal.SIGTERM)  # an operator may send it again and again
                return not any(os.path.exists(f"/proc/{child}") for child in children)

            wait_until(have_ended)


def test_worker_that_dies_is_replaced_while_the_issuer_hangs(tmp_path):
    hanging = Issuer()
    release = threading.Event()
    hanging.behave = lambda handler: release.wait(LIMIT)
    settings = SETTINGS | {"JWT_ISSUER": hanging.name, "WEB_CONCURRENCY": "1", "JWKS_TIMEOUT": "30"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        [worker] = server.workers()
        os.kill(int(worker), signal.SIGKILL)
        wait_until(lambda: worker not in server.workers())
        began = time.monotonic()
        wait_until_listening(server.port, server.process, server.log)
        seconds = time.monotonic() - began
        release.set()
    hanging.close()

    assert seconds < 20  # less than JWKS_TIMEOUT


@pytest.mark.parametrize(
    "phase",
    [
        lambda server: "reload_started" in server.output(),
        lambda server: len(server.children()) == 2,
        lambda server: len(server.workers()) > 2,
        lambda server: "reload_done" in server.output(),
    ],
    ids=["requested", "started", "forked", "done"],
)
def test_term_during_a_reload_fails_no_request(gateway, tmp_path, phase):
    with ready_server(gateway, tmp_path) as server:
        clients = Clients(server.port, gateway.token(), leave=True)
        clients.wait_for_responses()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: phase(server))
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(LIMIT)
        clients.stop()

    assert (server.process.returncode, clients.failures) == (0, [])


def test_repeated_term_is_one_stop(gateway, tmp_path):
    with ready_server(gateway, tmp_path) as server:
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.002)

    assert server.process.returncode == 0


def test_worker_that_dies_during_a_reload_does_not_stop_the_reload(gateway, tmp_path):
    with ready_server(gateway, tmp_path) as server:
        before = server.workers()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.children()) == 2)
        os.kill(int(max(before, key=int)), signal.SIGKILL)
        wait_until(lambda: "reload_done" in server.output() and len(server.children()) == 1)
        assert server.process.poll() is None and server.get("/health/live")[0] == 200
        assert len(server.workers()) == 2 and not server.workers() & before


@pytest.mark.parametrize(
    "phase",
    [
        lambda server: server.children(),
        lambda server: server.workers(),
        lambda server: "server_ready" in server.output(),
    ],
    ids=["started", "forked", "ready"],
)
def test_term_stops_a_server_that_starts(gateway, tmp_path, phase):
    server = production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name})
    try:
        wait_until(lambda: phase(server))
        server.process.send_signal(signal.SIGHUP)
        server.process.send_signal(signal.SIGTERM)
        assert timed_stop(server) < STOP_SECONDS and server.process.returncode == 0
    finally:
        server.__exit__()


def test_unfinished_request_does_not_delay_the_stop(gateway, tmp_path):
    with ready_server(gateway, tmp_path) as server, connect(server.port) as unfinished:
        unfinished.sendall(b"GET /")
        server.process.send_signal(signal.SIGTERM)
        seconds = timed_stop(server)

    assert seconds < STOP_SECONDS


def test_worker_that_dies_is_replaced(gateway, tmp_path):
    with ready_server(gateway, tmp_path) as server:
        before = server.workers()
        os.kill(int(min(before)), signal.SIGKILL)
        wait_until(lambda: server.workers() - before and len(server.workers()) == 2)
        assert server.get("/protected", bearer(gateway.token()))[0] == 200


def test_hup_replaces_the_workers_and_fails_no_request(gateway, tmp_path):
    with ready_server(gateway, tmp_path) as server:
        before = server.workers()
        clients = Clients(server.port, gateway.token())
        clients.wait_for_responses()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not server.workers() & before and len(server.workers()) == 2)
        clients.wait_for_responses()
        clients.stop()

    assert (set(clients.statuses), clients.failures) == ({200}, [])
