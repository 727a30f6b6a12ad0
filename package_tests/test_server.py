"""The production server, and another one: as they are deployed."""

import ctypes
import http.client
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress

import pytest

from package_tests.support.issuer import Issuer
from package_tests.support.servers import Server, free_port, production, wait_until_listening
from package_tests.support.signing import ALGORITHMS

SETTINGS = {"WEB_CONCURRENCY": "2", "WEB_THREADS": "8", "JWT_AUDIENCE": "https://api.test/*"}


@pytest.fixture(scope="module")
def gateway():
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(gateway, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    settings = SETTINGS | {"JWT_ISSUER": gateway.name, "JWT_ALGORITHMS": ",".join(ALGORITHMS)}
    settings["JWT_AUDIENCE"] = "https://api.test/*,orders-api"
    with production(free_port(), log, **settings) as running:
        wait_for_keys(running)
        yield running


def wait_for_keys(server):
    """Until both processes hold keys: before, one of them tells those beyond its seats 503."""
    end = time.monotonic() + 30
    while server.output().count("jwks_first_keys") < 2:
        assert time.monotonic() < end
        time.sleep(0.05)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_the_main_job(server, gateway):
    for algorithm in ALGORITHMS:
        status, headers, body = server.get("/protected", bearer(gateway.token(algorithm)))
        assert (status, json.loads(body)["message"]) == (200, "Access granted")
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert server.get("/protected")[0] == 401
    assert server.get("/nope")[0] == 404
    assert json.loads(server.get("/health/ready")[2]) == {"status": "ok"}


def test_the_claims_are_the_callers_own_under_many_threads(server, gateway):
    tokens = {name: gateway.token(sub=name) for name in ("alice", "bob")}
    mixed_up = []

    def hammer(name):
        for _ in range(150):
            status, _, body = server.get("/protected", bearer(tokens[name]) if name in tokens else {})
            seen = json.loads(body).get("user", {}).get("sub")
            if (status, seen) != ((200, name) if name in tokens else (401, None)):
                mixed_up.append((name, status, seen))

    threads = [threading.Thread(target=hammer, args=(name,)) for name in ("alice", "bob", "nobody", "anyone") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert mixed_up == []


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % (b"a" * 20_000), b"401"),
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nX: %s\r\n" % (b"a" * 60_000), b"431"),
        (b"GET /%s HTTP/1.1\r\nHost: x\r\n" % (b"a" * 70_000), b"431"),
        (b"GET /protected%0A HTTP/1.1\r\nHost: x\r\n", b"400"),
        (b"get /protected HTTP/1.1\r\nHost: x\r\n", b"405"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n", b"404"),
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n", b"401"),
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n", b"400"),
        (b"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Basic a\r\nAuthorization: Bearer b\r\n", b"400"),
        (b"POST /protected HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n", b"405"),
    ],
)
def test_whatever_is_sent_is_answered(server, lines, status):
    assert server.raw(lines + b"Connection: close\r\n\r\n").split(b" ")[1] == status


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
def test_both_ways_into_the_application_answer_odd_addresses_alike(gateway, tmp_path, header):
    settings = SETTINGS | {"JWT_ISSUER": gateway.name, "JWT_HEADER": header}
    addresses = [b"/health/live?a=\xc3\xa9", b"/health/live?%ff=%ff", b"/%ff", b"/%ed%a0%80", b"/%C3%A9", b"/a%00b"]
    with production(free_port(), tmp_path / "log", **settings) as server:
        answers = [
            server.raw(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % address) for address in addresses
        ]
        assert "Traceback" not in server.output()

    assert [answer.split(b" ")[1] for answer in answers] == [b"200", b"200", b"400", b"400", b"404", b"400"]


def test_health_answers_while_the_issuer_hangs(tmp_path):
    hanging = Issuer()
    release = threading.Event()
    hanging.behave = lambda handler: release.wait(30)
    settings = SETTINGS | {"JWT_ISSUER": hanging.name, "WEB_CONCURRENCY": "1", "JWKS_TIMEOUT": "3"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        token = hanging.token()
        waiting = [
            threading.Thread(target=lambda: server.get("/protected", bearer(token)), daemon=True) for _ in range(32)
        ]
        for thread in waiting:
            thread.start()
        time.sleep(0.3)
        slowest = 0.0
        for path, expected in (("/health/live", 200), ("/health/ready", 503), ("/nope", 404), ("/protected", 401)) * 5:
            began = time.perf_counter()
            assert server.get(path)[0] == expected
            slowest = max(slowest, time.perf_counter() - began)
        status, headers, body = server.get("/protected", bearer(token))
        for thread in waiting:
            thread.join(20)
        release.set()
    hanging.close()

    assert slowest < 2.5
    assert (status, json.loads(body)) == (503, {"error": "Signing keys unavailable"})
    assert 1 <= int(headers["retry-after"]) <= 4 and "www-authenticate" not in headers


def test_it_starts_without_its_issuer_and_works_once_there_is_one(tmp_path):
    late = Issuer()
    late.behave = lambda handler: handler.connection.close()
    settings = SETTINGS | {"JWT_ISSUER": late.name, "WEB_CONCURRENCY": "1"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        assert server.get("/health/ready")[0] == 503
        assert server.get("/protected", bearer(late.token()))[0] == 503
        late.behave = None
        began = time.monotonic()
        while server.get("/protected", bearer(late.token()))[0] != 200 and time.monotonic() - began < 30:
            time.sleep(0.1)
        seconds = time.monotonic() - began
    late.close()

    assert seconds < 10


def ask_on(connection, token):
    """One request on a connection that is kept, and whether the server wants to keep it too."""
    connection.request("GET", "/protected", headers=bearer(token))
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Connection") != "close"


class Clients:
    """Clients that ask as fast as they can, on connections that they keep, until they are stopped or refused.

    With `leave`, they do as a balancer does that has another server: they do not come back once a connection is closed.
    """

    def __init__(self, port, token, number=8, leave=False):
        self._leave = leave
        self.statuses, self.failures, self.stopped = [], [], threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(port, token)) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _ask(self, port, token):
        while not self.stopped.is_set():
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    return  # nothing of it was accepted
                try:
                    kept = True
                    while kept and not self.stopped.is_set():
                        status, kept = ask_on(connection, token)
                        self.statuses.append(status)
                    if self._leave:
                        return
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))

    def stop(self):
        self.stopped.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
def test_term_fails_nobody_that_was_let_in(gateway, tmp_path, header):
    settings = SETTINGS | {"JWT_ISSUER": gateway.name, "JWT_HEADER": header}
    with production(free_port(), tmp_path / "log", **settings) as server:
        wait_for_keys(server)
        clients = Clients(server.port, gateway.token(), leave=True)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as halfway:
            halfway.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
            time.sleep(0.5)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            time.sleep(1.5)
            halfway.sendall(b"\r\n")
            answered = halfway.recv(65536)
        server.process.wait(15)
        seconds = time.monotonic() - began
        clients.stop()

    assert (server.process.returncode, clients.failures) == (0, []) and seconds < 12
    assert set(clients.statuses) == {200 if header == "Authorization" else 401} and len(clients.statuses) > 100
    assert answered.startswith(b"HTTP/1.1 200")


def test_term_to_all_processes_at_once_is_heard_by_their_parent(gateway, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
        wait_for_keys(server)
        clients = Clients(server.port, gateway.token(), leave=True)
        time.sleep(0.5)
        for process in [*server.workers(), *server.children(), server.process.pid]:
            os.kill(int(process), signal.SIGTERM)
        server.process.wait(15)
        clients.stop()

    assert (server.process.returncode, clients.failures) == (0, []) and len(clients.statuses) > 100


def test_term_is_heard_whichever_thread_it_is_given_to(gateway, tmp_path):
    settings = SETTINGS | {"JWT_ISSUER": gateway.name, "METRICS_ENABLED": "true", "METRICS_PORT": str(free_port())}
    with production(free_port(), tmp_path / "log", **settings) as server:
        wait_for_keys(server)
        end = time.monotonic() + 10
        while len(threads := os.listdir(f"/proc/{server.process.pid}/task")) < 2:  # the metrics port has one
            assert time.monotonic() < end
            time.sleep(0.01)
        _, metrics, *_ = sorted(map(int, threads))
        assert ctypes.CDLL(None).tgkill(server.process.pid, metrics, signal.SIGTERM) == 0
        server.process.wait(15)

    assert server.process.returncode == 0


def test_processes_that_are_held_up_at_their_end_end_nevertheless(gateway, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
        wait_for_keys(server)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1.2)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in [*server.workers(), *server.children()]:
                os.kill(int(process), number)
            time.sleep(1)
        server.process.wait(15)
        seconds = time.monotonic() - began

    assert server.process.returncode == 0 and seconds < 7


def test_the_others_end_with_their_parent_whatever_is_under_way(gateway, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
        wait_for_keys(server)
        children = [*server.workers(), *server.children()]
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as halfway:
            halfway.sendall(b"GET /health/live HTTP/1.1\r\n")
            time.sleep(0.2)
            server.process.kill()
            server.process.wait(10)
            end = time.monotonic() + 20
            while any(os.path.exists(f"/proc/{child}") for child in children):
                assert time.monotonic() < end
                for child in children:
                    with suppress(ProcessLookupError):
                        os.kill(int(child), signal.SIGTERM)  # as a supervisor does, again and again
                time.sleep(0.5)


def test_a_process_that_dies_is_replaced_while_the_issuer_hangs(tmp_path):
    hanging = Issuer()
    release = threading.Event()
    hanging.behave = lambda handler: release.wait(60)
    settings = SETTINGS | {"JWT_ISSUER": hanging.name, "WEB_CONCURRENCY": "1", "JWKS_TIMEOUT": "20"}
    with production(free_port(), tmp_path / "log", **settings) as server:
        [process] = server.workers()
        os.kill(int(process), signal.SIGKILL)
        while workers(server) & {process}:
            time.sleep(0.05)
        began = time.monotonic()
        wait_until_listening(server.port, server.process, server.log)
        seconds = time.monotonic() - began
        release.set()
    hanging.close()

    assert seconds < 10


@pytest.mark.parametrize("after", [0.6, 0.9, 1.2, 1.5])
def test_term_in_a_reload_fails_nobody(gateway, tmp_path, after):
    with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
        wait_for_keys(server)
        clients = Clients(server.port, gateway.token(), leave=True)
        server.process.send_signal(signal.SIGHUP)
        time.sleep(after)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(15)
        clients.stop()

    assert (server.process.returncode, clients.failures) == (0, []) and len(clients.statuses) > 100


def test_term_again_and_again_is_one(gateway, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
        wait_for_keys(server)
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.002)

    assert server.process.returncode == 0


def test_a_process_that_dies_in_a_reload_ends_nothing(gateway, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
        wait_for_keys(server)
        before = workers(server)
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        os.kill(int(max(before, key=int)), signal.SIGKILL)
        end = time.monotonic() + 30
        while workers(server) & before or len(workers(server)) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1)
        assert server.process.poll() is None and server.get("/health/live")[0] == 200


def test_term_is_heard_while_it_starts_and_while_it_is_reloaded(gateway, tmp_path):
    for begins in (0.0, 0.1, 0.2, 0.3):
        with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
            server.process.send_signal(signal.SIGHUP)
            time.sleep(begins)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(15)
        assert server.process.returncode == 0 and time.monotonic() - began < 5


def test_a_client_that_never_ends_its_request_does_not_hold_up_the_end(gateway, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
        wait_for_keys(server)
        with socket.create_connection(("127.0.0.1", server.port)) as endless:
            endless.sendall(b"GET /")
            time.sleep(0.2)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(15)

    assert time.monotonic() - began < 12


def test_a_process_that_dies_is_replaced(gateway, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
        wait_for_keys(server)
        before = workers(server)
        os.kill(int(min(before)), signal.SIGKILL)
        end = time.monotonic() + 30
        while len(workers(server) - before) < 1 or len(workers(server)) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert server.get("/protected", bearer(gateway.token()))[0] == 200


def workers(server):
    return server.workers()


def test_hup_replaces_the_processes_and_fails_nobody(gateway, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS | {"JWT_ISSUER": gateway.name}) as server:
        wait_for_keys(server)
        before = workers(server)
        clients = Clients(server.port, gateway.token())
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 30
        while (workers(server) & before or len(workers(server)) < 2) and time.monotonic() < end:
            time.sleep(0.1)
        after = workers(server)
        clients.stop()

    assert len(before) == len(after) == 2 and not before & after
    assert (set(clients.statuses), clients.failures) == ({200}, []) and len(clients.statuses) > 100


def cores(server):
    return sorted(sorted(os.sched_getaffinity(int(worker))) for worker in workers(server))


@pytest.fixture
def two_cores():
    """Two cores for what the test starts, where the machine has more."""
    before = os.sched_getaffinity(0)
    given = sorted(before)[:2]
    os.sched_setaffinity(0, given)
    yield given
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize("more", [0, 1])
def test_with_a_core_for_each_process_each_keeps_to_its_own(gateway, tmp_path, two_cores, more):
    processes = len(two_cores) + more
    expected = [two_cores] * processes if more else [[core] for core in two_cores]
    settings = SETTINGS | {"JWT_ISSUER": gateway.name, "WEB_CONCURRENCY": str(processes)}
    with production(free_port(), tmp_path / "log", **settings) as server:
        end = time.monotonic() + 30
        while cores(server) != expected or server.output().count("jwks_first_keys") < processes:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_thousand_idle_connections_hold_up_nobody(gateway, tmp_path):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    settings = SETTINGS | {"JWT_ISSUER": gateway.name}
    with production(free_port(), tmp_path / "log", **settings) as server, ExitStack() as idle:
        wait_for_keys(server)
        for _ in range(1200):
            idle.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
            connection.request("GET", "/protected", headers=bearer(gateway.token()))
            assert connection.getresponse().status == 200


def test_nothing_of_a_token_reaches_the_log(server, gateway):
    good, bad = gateway.token(), gateway.token(exp=1, iat=0)
    for token in (good, bad, good[:-4] + "AAAA"):
        server.get(f"/protected?access_token={token}", bearer(token))

    end = time.monotonic() + 20
    while "bad_signature" not in server.output():  # lines are written in batches
        assert time.monotonic() < end
        time.sleep(0.01)
    output = server.output()
    lines = [json.loads(line) for line in output.splitlines()]  # each of them is an object, granian's own too
    assert {"expired", "bad_signature"} <= {line.get("reason") for line in lines}
    for part in {*good.split("."), *bad.split(".")}:
        assert part not in output


def test_any_wsgi_server_serves_it(gateway, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--threads", "8", "wsgi:application"]
    settings = {"JWT_ISSUER": gateway.name, "JWT_AUDIENCE": "*"}
    with Server(command, port, tmp_path / "log", settings) as server:
        answered = server.get("/protected", bearer(gateway.token()))
        ready = server.get("/health/ready")

    assert (answered[0], ready[0]) == (200, 200)


def test_a_process_that_was_forked_after_the_application_was_made_has_its_own_refresh(gateway, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--preload", "wsgi:application"]
    settings = {"JWT_ISSUER": gateway.name, "JWT_AUDIENCE": "*", "JWKS_TTL": "1", "JWKS_MAX_STALE": "0"}
    with Server(command, port, tmp_path / "log", settings) as server:
        time.sleep(2)  # keys that were fetched before the fork serve no more
        end = time.monotonic() + 30
        while server.get("/health/ready")[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
