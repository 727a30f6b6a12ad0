"""Nothing that a slow client, a stalled log or a killed server leaves behind stops the production server."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from package_tests.support.controllers import LIMIT, connect, is_listening, wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.servers import PROJECT, clean_environment, free_port, production
from package_tests.support.signing import Key

COMMAND = [sys.executable, "-m", "zuplo_origin.server"]
CHECKS = 300
"""Health checks that must pass, more than once filled a pipe of 64 KiB with their log lines."""


@pytest.fixture(scope="module")
def issuer():
    made = Issuer([Key("EdDSA", "k-EdDSA")])
    yield made
    made.close()


def environment(issuer, port, **settings):
    usual = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "WEB_CONCURRENCY": "1"}
    return clean_environment(**usual | {"SHUTDOWN_DRAIN": "0"} | settings)


def get(port, path, headers=None):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)) as connection:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()


def is_ready(port):
    try:
        return get(port, "/health/ready")[0] == 200
    except OSError:
        return False


@contextmanager
def running(issuer, stderr, **settings):
    """Run the production server with another standard error; yield its process and its port when it is ready."""
    port = free_port()
    process = subprocess.Popen(
        COMMAND, cwd=PROJECT, env=environment(issuer, port, **settings), stderr=stderr, start_new_session=True
    )
    try:
        wait_until(lambda: process.poll() is not None or is_ready(port))
        assert process.poll() is None, process.returncode
        yield process, port
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def dropped_lines(port):
    families = text_string_to_metric_families(get(port, "/metrics")[1].decode())
    return {sample.name: sample.value for family in families for sample in family.samples}["log_lines_dropped_total"]


def test_responses_go_on_and_lines_are_counted_while_the_log_is_not_read(issuer):
    read, write = os.pipe()
    with running(issuer, write, METRICS_ENABLED="True", METRICS_PORT=str(metrics_port := free_port())) as (
        process,
        port,
    ):
        os.close(write)
        wait_until(lambda: is_listening(metrics_port))
        with connect(port) as connection:
            request = b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n" * 200
            connection.settimeout(LIMIT)
            reader = threading.Thread(target=read_all, args=(connection,), daemon=True)
            reader.start()
            end = time.monotonic() + LIMIT
            while dropped_lines(metrics_port) == 0:
                assert time.monotonic() < end
                connection.sendall(request)
        assert get(port, "/health/live")[0] == 200

        drained = threading.Thread(target=drain, args=(read, lines := []), daemon=True)
        drained.start()
        wait_until(lambda: get(port, "/health/live") and any("log_lines_dropped" in line for line in lines))
        process.terminate()
        assert process.wait(LIMIT) == 0
    drained.join()
    [line] = [json.loads(line) for line in lines if "log_lines_dropped" in line][:1]
    assert line["level"] == "warning" and line["lines"] > 0


def read_all(connection):
    try:
        while connection.recv(1 << 20):
            pass
    except OSError:
        return


def drain(pipe, lines):
    with open(pipe) as file:
        lines.extend(iter(file.readline, ""))


def test_term_ends_the_server_while_the_log_is_not_read(issuer):
    read, write = os.pipe()
    os.set_blocking(write, False)
    with running(issuer, write) as (process, port):
        try:
            while True:
                os.write(write, b"x" * 4096)  # the pipe is full, for the supervisor too
        except BlockingIOError:
            os.set_blocking(write, True)
        for _ in range(CHECKS):
            assert get(port, "/health/live")[0] == 200
        process.send_signal(signal.SIGHUP)  # the supervisor logs
        assert get(port, "/health/live")[0] == 200
        process.terminate()
        began = time.monotonic()
        assert process.wait(LIMIT) == 0
    os.close(read), os.close(write)
    assert time.monotonic() - began < 30


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_server_runs_while_the_disk_of_its_log_is_full(issuer):
    with open("/dev/full", "w") as full, running(issuer, full) as (process, port):
        assert get(port, "/health/live")[0] == 200
        process.terminate()
        assert process.wait(LIMIT) == 0


def test_server_runs_whose_log_is_a_closed_pipe(issuer):
    read, write = os.pipe()
    os.close(read)
    with running(issuer, write) as (process, port):
        assert get(port, "/health/live")[0] == 200
        process.terminate()
        assert process.wait(LIMIT) == 0
    os.close(write)


# -- one thread -------------------------------------------------------------------------------------------------------


def test_no_slow_client_stops_health_checks_of_a_worker_with_one_thread(issuer, tmp_path):
    hanging = Issuer([Key("EdDSA", "hanging")])
    release = threading.Event()
    settings = {"WEB_CONCURRENCY": "1", "WEB_THREADS": "1", "WEB_STREAMS": "1", "JWKS_TIMEOUT": "30"}
    settings |= {"JWT_ISSUER": f"{issuer.name},{hanging.name}", "JWT_AUDIENCE": "*"}
    hanging.behave = lambda handler: release.wait(LIMIT)
    good, waiting = issuer.token(), hanging.token()
    head = "POST /protected HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nAuthorization: Bearer "
    slow = [
        b"GET /protec",
        b"GET /protected HTTP/1.1\r\nHost: x\r\nX-A: ",
        f"{head}{good}\r\n\r\n{{".encode(),
        f"{head.replace('POST', 'GET')}{good}\r\n\r\n{{".encode(),
        f"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {waiting}\r\n\r\n".encode(),
        f"{head}{waiting}\r\n\r\n".encode(),
        b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000,
    ]
    with production(free_port(), tmp_path / "log", **settings) as server, ExitStack() as opened:
        wait_until(lambda: get(server.port, "/protected", {"Authorization": f"Bearer {good}"})[0] == 200)
        for request in slow:
            for _ in range(3):
                opened.enter_context(connect(server.port)).sendall(request)
            began = time.monotonic()
            for _ in range(5):
                assert get(server.port, "/health/live")[0] == 200
                assert get(server.port, "/protected", {"Authorization": f"Bearer {good}"})[0] == 200
            assert time.monotonic() - began < 20  # less than JWKS_TIMEOUT and BODY_TIMEOUT
        release.set()
    hanging.close()


# -- side ports and counters ------------------------------------------------------------------------------------------


def test_slow_readers_of_the_metrics_port_do_not_keep_others_from_reading(issuer, tmp_path):
    metrics, health = free_port(), free_port()
    settings = {"METRICS_ENABLED": "True", "METRICS_PORT": str(metrics), "HEALTH_PORT": str(health)}
    with (
        production(free_port(), tmp_path / "log", JWT_ISSUER=issuer.name, JWT_AUDIENCE="*", **settings),
        ExitStack() as opened,
    ):
        for port, path in ((metrics, "/metrics"), (health, "/health/live")):
            wait_until(lambda port=port: can_connect(port))
            for number in range(100):
                slow = opened.enter_context(connect(port))
                slow.sendall([b"", b"GET /me", f"GET {path} HTTP/1.0\r\nX: ".encode()][number % 3])
                if number % 10 == 9:
                    assert get(port, path)[0] == 200


def can_connect(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_counters_of_a_killed_server_are_removed_at_the_next_start(issuer, tmp_path):
    folder, lookalike = tmp_path / "tmp", tmp_path / "elsewhere"
    folder.mkdir(), lookalike.mkdir()
    (folder / "zuplo-origin-metrics-link").symlink_to(lookalike)
    (folder / "zuplo-origin-metrics-unlocked").mkdir()

    def counters():
        return {path.name for path in folder.glob("zuplo-origin-metrics-*")} - {
            "zuplo-origin-metrics-link",
            "zuplo-origin-metrics-unlocked",
        }

    settings = {"METRICS_ENABLED": "True", "TMPDIR": str(folder)}
    with running(issuer, subprocess.DEVNULL, **settings) as (first, _):
        [left] = counters()
        with running(issuer, subprocess.DEVNULL, **settings) as (second, _):
            assert left in counters()  # the first server runs
            second.terminate()
            assert second.wait(LIMIT) == 0
        assert counters() == {left}
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    with running(issuer, subprocess.DEVNULL, **settings) as (third, _):
        assert left not in counters() and len(counters()) == 1
        third.terminate()
        assert third.wait(LIMIT) == 0
    assert counters() == set() and lookalike.exists()
    shutil.rmtree(folder)


# -- bodies that are not read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expect", "targets"), [(b"", 3), (b"Expect: 100-continue\r\n", 1)])
def test_response_to_an_unread_body_says_close_and_arrives(issuer, tmp_path, expect, targets):
    with production(free_port(), tmp_path / "log", JWT_ISSUER=issuer.name, JWT_AUDIENCE="*") as server:
        for target, status in ((b"/protected", 405), (b"/nope", 404), (b"/health/live", 405))[:targets]:
            with connect(server.port) as connection:
                connection.sendall(
                    b"POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: 3000000\r\n\r\n" % (target, expect)
                )
                if not expect:
                    connection.sendall(b"x" * 3_000_000)
                text = b""
                while chunk := connection.recv(65536):
                    text += chunk
            assert text.startswith(b"HTTP/1.1 %d " % status) and b"\r\nconnection: close\r\n" in text
            assert b"100 Continue" not in text


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"APP_ENV": "local"}, "APP_ENV: local"), ({"APP_ENV": "testing", "JWT_AUDIENCE": ""}, "JWT_AUDIENCE: not set")],
)
def test_production_server_checks_the_audience_in_any_environment(issuer, settings, expected):
    made = environment(issuer, free_port(), **settings)
    ended = subprocess.run(COMMAND, cwd=PROJECT, env=made, capture_output=True, text=True, timeout=LIMIT)

    assert ended.returncode != 0 and expected in ended.stderr and "Traceback" not in ended.stderr
