"""Addresses, TLS, side ports and idle connections of the production server."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from types import SimpleNamespace

import pytest

from package_tests.support.certificates import Authority
from package_tests.support.controllers import LIMIT, connect, is_listening, reload, wait_until
from package_tests.support.issuer import Issuer
from package_tests.support.servers import free_port, production
from zuplo_origin.server.connections import FIRST_REQUEST_SECONDS
from zuplo_origin.server.memory import budget, memory_limit

SETTINGS = {"WEB_CONCURRENCY": "1", "JWT_AUDIENCE": "*"}


@pytest.fixture(scope="module")
def issuer():
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@contextmanager
def ready_server(issuer, folder, **settings):
    """Run the production server, https or not; it is ready when the block begins."""
    settings = SETTINGS | {"JWT_ISSUER": issuer.name} | settings
    server = production(free_port(), folder / "log", **settings)
    try:
        wait_until(lambda: "server_ready" in server.output() or server.process.poll() is not None)
        assert server.process.poll() is None, server.output()
        yield server
    finally:
        server.__exit__()


def fetch(port, path, method="GET"):
    """Send a request in plain HTTP, and return status, headers and body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def context(authority, client=None, version=None):
    created = ssl.create_default_context(cafile=str(authority.path))
    if version is not None:
        created.minimum_version = created.maximum_version = version
    if client is not None:
        created.load_cert_chain(*client)
    return created


def fetch_https(port, tls, path="/health/live", headers=None):
    with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=LIMIT, context=tls)) as connection:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_server_speaks_https_with_a_certificate(issuer, authority, tmp_path, version):
    certificate, key = authority.issue("server")
    with ready_server(issuer, tmp_path, TLS_CERT=str(certificate), TLS_KEY=str(key)) as server:
        tls = context(authority, version=version)
        assert fetch_https(server.port, tls) == (200, {"status": "ok"})
        assert fetch_https(server.port, tls, "/protected", {"Authorization": f"Bearer {issuer.token()}"})[0] == 200


def test_only_clients_with_a_certificate_of_the_ca_are_accepted(issuer, authority, tmp_path):
    certificate, key = authority.issue("server-mtls")
    other, health_port = Authority(tmp_path, "other"), free_port()
    settings = {"TLS_CERT": str(certificate), "TLS_KEY": str(key), "TLS_CLIENT_CA": str(authority.path)}
    with ready_server(issuer, tmp_path, **settings, HEALTH_PORT=str(health_port)) as server:
        assert fetch_https(server.port, context(authority, authority.issue("gateway"))) == (200, {"status": "ok"})
        for client in (None, other.issue("client"), authority.issue("expired", days=-1)):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                fetch_https(server.port, context(authority, client))
        assert fetch(health_port, "/health/live")[::2] == (200, b'{"status": "ok"}')
        assert fetch(health_port, "/protected")[0] == 404


def test_side_ports_respond_to_head_like_get_without_the_body(issuer, tmp_path):
    health_port, metrics_port = free_port(), free_port()
    settings = {"HEALTH_PORT": str(health_port), "METRICS_ENABLED": "True", "METRICS_PORT": str(metrics_port)}
    pages = [(health_port, path) for path in ("/health/live", "/health/ready", "/nope")]
    with ready_server(issuer, tmp_path, **settings):
        for port, path in [*pages, (metrics_port, "/metrics"), (metrics_port, "/nope")]:
            status, headers, body = fetch(port, path)
            head_status, head_headers, head_body = fetch(port, path, "HEAD")
            assert (head_status, head_body) == (status, b"")
            assert head_headers["Content-Type"] == headers["Content-Type"]
            if path == "/metrics":  # its length may differ from one request to the next
                assert body and int(head_headers["Content-Length"]) > 0
            else:
                assert head_headers["Content-Length"] == headers["Content-Length"] == str(len(body))


def test_hup_renews_a_certificate_without_a_failed_request(issuer, authority, tmp_path):
    certificate, key = authority.issue("renewed")
    failures, stopped = [], threading.Event()

    def send_requests(port):
        while not stopped.is_set():
            https = http.client.HTTPSConnection("127.0.0.1", port, timeout=LIMIT, context=context(authority))
            with closing(https) as connection:
                try:
                    kept = True
                    while kept and not stopped.is_set():
                        connection.request("GET", "/health/live")
                        response = connection.getresponse()
                        assert response.read() == b'{"status":"ok"}'
                        kept = response.getheader("Connection") != "close"
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))

    with ready_server(issuer, tmp_path, TLS_CERT=str(certificate), TLS_KEY=str(key)) as server:
        before = serial(server.port, authority)
        threads = [threading.Thread(target=send_requests, args=(server.port,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            authority.issue("renewed")
            reload(server)
            assert serial(server.port, authority) != before
        finally:
            stopped.set()
            for thread in threads:
                thread.join()

    assert failures == []


def serial(port, authority):
    """Return the serial number of the server's certificate."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context(authority).wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return secure.getpeercert()["serialNumber"]


def test_invalid_host_or_tls_file_is_an_error_at_start(authority, tmp_path):
    certificate, key = authority.issue("good")
    expired, expired_key = authority.issue("old", days=-1)
    _, secret_key = authority.issue("secret", passphrase=b"hunter2")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    good = {"TLS_CERT": str(certificate), "TLS_KEY": str(key)}
    cases = [
        ({"TLS_CERT": str(certificate)}, "TLS_KEY: not set"),
        ({"TLS_KEY": str(key)}, "TLS_CERT: not set"),
        ({"TLS_CLIENT_CA": str(authority.path), "HEALTH_PORT": "9"}, "TLS_CERT: not set"),
        (good | {"TLS_CLIENT_CA": str(authority.path)}, "HEALTH_PORT: not set"),
        ({"TLS_CERT": str(tmp_path / "none"), "TLS_KEY": str(key)}, "No such file"),
        ({"TLS_CERT": str(garbage), "TLS_KEY": str(key)}, "it contains none"),
        ({"TLS_CERT": str(expired), "TLS_KEY": str(expired_key)}, "it expired on"),
        ({"TLS_CERT": str(certificate), "TLS_KEY": str(expired_key)}, "it is another key"),
        ({"TLS_CERT": str(certificate), "TLS_KEY": str(secret_key)}, "it has a passphrase"),
        ({"TLS_CERT": str(certificate), "TLS_KEY": str(garbage)}, "it cannot be used"),
        ({"HOST": "192.0.2.1"}, "HOST, PORT: cannot listen on 192.0.2.1"),
        ({"HOST": "localhost"}, "HOST: invalid value 'localhost'"),
    ]
    for settings, expected in cases:
        server = production(free_port(), tmp_path / "log", **SETTINGS, JWT_ISSUER="https://gw.example", **settings)
        assert server.process.wait(LIMIT) != 0
        server.__exit__()
        assert expected in server.output() and "Traceback" not in server.output(), (settings, server.output())
        assert "hunter2" not in server.output()
        assert "TLS_KEY: invalid value" not in server.output() or settings["TLS_CERT"] == str(certificate)


@pytest.mark.parametrize(
    ("host", "reachable", "unreachable"),
    [("127.0.0.1", ["127.0.0.1"], ["::1"]), ("::1", ["::1"], ["127.0.0.1"]), ("::", ["::1", "127.0.0.1"], [])],
)
def test_server_listens_on_the_address_in_host(issuer, tmp_path, host, reachable, unreachable):
    health_port = free_port()
    with ready_server(issuer, tmp_path, HOST=host, HEALTH_PORT=str(health_port)) as server:
        assert all(is_listening(port, address) for address in reachable for port in (server.port, health_port))
        assert not any(is_listening(server.port, address) for address in unreachable)


def test_idle_connection_is_kept_for_keep_alive_seconds(issuer, tmp_path):
    with ready_server(issuer, tmp_path, KEEP_ALIVE="3") as server, connect(server.port) as connection:
        request_on(connection)
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(LIMIT)
        assert request_on(connection).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        assert connection.recv(1) == b"" and time.monotonic() - began > 2


def request_on(connection):
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    text = b""
    while b'"ok"}' not in text:
        received = connection.recv(65536)
        assert received
        text += received
    return text


def test_readiness_is_draining_after_term(issuer, tmp_path):
    with ready_server(issuer, tmp_path, SHUTDOWN_DRAIN="5") as server:
        assert server.get("/health/ready")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/health/ready")[0] != 200)
        status, headers, body = server.get("/health/ready")
        live = server.get("/health/live")
        server.process.wait(LIMIT)

    assert (status, json.loads(body), headers["connection"]) == (503, {"status": "draining"}, "close")
    assert live[0] == 200 and server.process.returncode == 0


def test_idle_connections_are_closed_so_that_new_ones_are_accepted(issuer, tmp_path):
    with ready_server(issuer, tmp_path, MAX_CONNECTIONS="50") as server, ExitStack() as opened:
        idle = []
        for number in range(400):
            connection = opened.enter_context(connect(server.port))
            connection.sendall(b"GET /health" if number % 2 else b"")  # half a header, or nothing
            idle.append(connection)
            if number % 40 == 0:
                assert server.get("/health/live")[0] == 200
        assert server.get("/health/live")[0] == 200
        assert idle[0].recv(1) == b""


def test_connection_of_a_request_in_progress_is_not_idle(issuer, tmp_path):
    with ready_server(issuer, tmp_path, MAX_CONNECTIONS="50", BODY_TIMEOUT="60") as server, ExitStack() as opened:
        first, working = opened.enter_context(connect(server.port)), opened.enter_context(connect(server.port))
        lines = f"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {issuer.token()}\r\n"
        working.sendall(lines.encode() + b"Content-Length: 5\r\n\r\n")
        for _ in range(200):
            opened.enter_context(connect(server.port))
        assert server.get("/health/live")[0] == 200
        assert first.recv(1) == b""  # as old as the other, and idle: it has been closed
        working.sendall(b"12345")
        assert working.recv(65536).startswith(b"HTTP/1.1 200")


def test_client_that_connected_before_the_server_stops_accepting_is_served(issuer, tmp_path):
    with ready_server(issuer, tmp_path, SHUTDOWN_DRAIN="0") as server, connect(server.port) as connection:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_listening(server.port))
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")

        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert server.process.wait(LIMIT) == 0


PIPELINED = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100


def send_until_closed(connection, data):
    """Send `data` again and again without reading a response, until the server closes the connection."""
    connection.settimeout(LIMIT)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            connection.sendall(data)


def test_connection_whose_responses_are_never_read_is_closed_after_send_timeout(issuer, tmp_path):
    with ready_server(issuer, tmp_path, SEND_TIMEOUT="1") as server, connect(server.port) as connection:
        began = time.monotonic()
        send_until_closed(connection, PIPELINED)
        assert time.monotonic() - began >= 1
        assert server.get("/health/live")[0] == 200


def test_connections_whose_responses_are_never_read_are_closed_when_they_hold_too_much_memory(issuer, tmp_path):
    with ready_server(issuer, tmp_path, SEND_TIMEOUT="600") as server, ExitStack() as opened:
        clients = [opened.enter_context(connect(server.port)) for _ in range(100)]
        threads = [threading.Thread(target=send_until_closed, args=(each, PIPELINED)) for each in clients]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(not thread.is_alive() for thread in threads) >= 50)  # each holds up to 4 MiB, of 32
        assert server.get("/health/live")[0] == 200
        for client in clients:
            with contextlib.suppress(OSError):  # the server has closed it
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def test_connections_without_a_whole_request_are_closed_before_idle_ones(issuer, tmp_path):
    with ready_server(issuer, tmp_path, MAX_CONNECTIONS="64") as server, ExitStack() as opened:
        honest = opened.enter_context(connect(server.port))
        assert request_on(honest).startswith(b"HTTP/1.1 200")
        dripping = [opened.enter_context(connect(server.port)) for _ in range(50)]
        for each in dripping:
            each.sendall(b"GET /health/live HTTP/1.1\r\nX-Slow: ")
        ended, slow = threading.Event(), threading.Thread(target=lambda: drip(dripping, ended))
        slow.start()
        try:
            time.sleep(FIRST_REQUEST_SECONDS)
            for _ in range(20):
                opened.enter_context(connect(server.port))
            wait_until(lambda: any(is_closed(each) for each in dripping))
        finally:
            ended.set()
            slow.join()
        assert request_on(honest).startswith(b"HTTP/1.1 200")


def drip(connections, ended):
    while not ended.wait(0.1):
        for each in connections:
            with contextlib.suppress(OSError):
                each.send(b"a")


def is_closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("mib", "processes", "expected"),
    [(65536, 2, (2048, 32, 32)), (512, 2, (1365, 16, 16)), (256, 2, (682, 8, 8)), (64, 4, (85, 1, 1))],
)
def test_limits_of_a_worker_fit_the_memory_of_its_container(mib, processes, expected):
    settings = SimpleNamespace(processes=processes, max_connections=2048)
    found = budget(settings, mib * 2**20)

    assert (found.connections, found.bodies // 2**20, found.unread // 2**20) == expected


def test_memory_limit_is_not_above_the_memory_of_the_machine():
    assert 0 < memory_limit() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
