"""Addresses, TLS, and idle connections of the production server."""

import http.client
import json
import signal
import socket
import ssl
import threading
import time
from contextlib import ExitStack, closing

import pytest

from package_tests.support.certificates import Authority
from package_tests.support.issuer import Issuer
from package_tests.support.servers import free_port, production

SETTINGS = {"WEB_CONCURRENCY": "1", "JWT_AUDIENCE": "*"}


@pytest.fixture(scope="module")
def issuer():
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


def start(log, settings, health_port):
    """Start the production server, and wait until its health port says that it is ready."""
    port = free_port()
    server = production(port, log, **SETTINGS | settings | {"HEALTH_PORT": str(health_port)})
    end = time.monotonic() + 30
    while health(health_port)[0] != 200:
        assert time.monotonic() < end and server.process.poll() is None, server.output()
        time.sleep(0.05)
    return server


def health(port, path="/health/ready"):
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
    except OSError:
        return None, b""


def context(authority, client=None, version=None):
    made = ssl.create_default_context(cafile=str(authority.path))
    if version is not None:
        made.minimum_version = made.maximum_version = version
    if client is not None:
        made.load_cert_chain(*client)
    return made


def ask(port, made, path="/health/live", headers=None):
    with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=made)) as connection:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_it_speaks_https_itself(issuer, authority, tmp_path, version):
    certificate, key = authority.issue("server")
    settings = {"JWT_ISSUER": issuer.name, "TLS_CERT": str(certificate), "TLS_KEY": str(key)}
    server = start(tmp_path / "log", settings, free_port())
    try:
        made = context(authority, version=version)
        assert ask(server.port, made) == (200, {"status": "ok"})
        assert ask(server.port, made, "/protected", {"Authorization": f"Bearer {issuer.token()}"})[0] == 200
    finally:
        server.__exit__()


def test_only_clients_with_a_certificate_of_the_ca_are_accepted(issuer, authority, tmp_path):
    certificate, key = authority.issue("server-mtls")
    other = Authority(tmp_path, "other")
    settings = {"JWT_ISSUER": issuer.name, "TLS_CERT": str(certificate), "TLS_KEY": str(key)}
    health_port = free_port()
    server = start(tmp_path / "log", settings | {"TLS_CLIENT_CA": str(authority.path)}, health_port)
    try:
        assert ask(server.port, context(authority, authority.issue("gateway"))) == (200, {"status": "ok"})
        for client in (None, other.issue("client"), authority.issue("expired", days=-1)):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                ask(server.port, context(authority, client))
        assert health(health_port, "/health/live") == (200, b'{"status": "ok"}')
        assert health(health_port, "/protected")[0] == 404
    finally:
        server.__exit__()


def test_a_certificate_is_renewed_by_hup_without_a_failed_request(issuer, authority, tmp_path):
    certificate, key = authority.issue("renewed")
    settings = {"JWT_ISSUER": issuer.name, "TLS_CERT": str(certificate), "TLS_KEY": str(key)}
    server = start(tmp_path / "log", settings, free_port())
    before, failures, stopped = serial(server.port, authority), [], threading.Event()

    def hammer():
        while not stopped.is_set():
            made = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=context(authority))
            with closing(made) as connection:
                try:
                    kept = True
                    while kept and not stopped.is_set():
                        connection.request("GET", "/health/live")
                        response = connection.getresponse()
                        assert response.read() == b'{"status":"ok"}'
                        kept = response.getheader("Connection") != "close"
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))

    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        authority.issue("renewed")
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 30
        while "reload_done" not in server.output() or len(server.children()) > 1:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert serial(server.port, authority) != before
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        server.__exit__()

    assert failures == []


def serial(port, authority):
    """The serial number of the certificate that the server shows."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context(authority).wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return secure.getpeercert()["serialNumber"]


def test_files_that_cannot_be_used_are_problems_at_start(authority, tmp_path):
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
        ({"HOST": "192.0.2.1"}, "HOST 192.0.2.1, PORT"),
        ({"HOST": "localhost"}, "HOST: invalid value 'localhost'"),
    ]
    for settings, expected in cases:
        server = production(free_port(), tmp_path / "log", **SETTINGS, JWT_ISSUER="https://gw.example", **settings)
        assert server.process.wait(20) != 0
        server.__exit__()
        assert expected in server.output() and "Traceback" not in server.output(), (settings, server.output())
        assert "hunter2" not in server.output()
        assert "TLS_KEY: invalid value" not in server.output() or settings["TLS_CERT"] == str(certificate)


@pytest.mark.parametrize(
    ("host", "reachable", "unreachable"),
    [("127.0.0.1", ["127.0.0.1"], ["::1"]), ("::1", ["::1"], ["127.0.0.1"]), ("::", ["::1", "127.0.0.1"], [])],
)
def test_it_listens_on_the_address_that_host_names(issuer, tmp_path, host, reachable, unreachable):
    health_port, port = free_port(), free_port()
    settings = SETTINGS | {"JWT_ISSUER": issuer.name, "HOST": host, "HEALTH_PORT": str(health_port)}
    server = production(port, tmp_path / "log", **settings)

    def can_connect(address, to):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            return probe.connect_ex((address, to)) == 0

    try:
        end = time.monotonic() + 30
        while not all(can_connect(address, to) for address in reachable for to in (port, health_port)):
            assert time.monotonic() < end and server.process.poll() is None, server.output()
            time.sleep(0.05)
        assert not any(can_connect(address, port) for address in unreachable)
    finally:
        server.__exit__()


def test_an_idle_connection_is_kept_as_long_as_keep_alive_says(issuer, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS, JWT_ISSUER=issuer.name, KEEP_ALIVE="3") as server:
        for seconds, kept in ((1, True), (6, False)):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
                ask_on(connection)
                connection.settimeout(seconds)
                try:
                    assert connection.recv(1) == b"" and not kept
                except TimeoutError:
                    assert kept
                    connection.settimeout(20)
                    assert ask_on(connection).startswith(b"HTTP/1.1 200")


def ask_on(connection):
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    text = b""
    while b'"ok"}' not in text:
        received = connection.recv(65536)
        assert received
        text += received
    return text


def test_it_says_draining_from_term_on(issuer, tmp_path):
    with production(free_port(), tmp_path / "log", **SETTINGS, JWT_ISSUER=issuer.name, SHUTDOWN_DRAIN="5") as server:
        end = time.monotonic() + 30
        while server.get("/health/ready")[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
        server.process.send_signal(signal.SIGTERM)
        while server.get("/health/ready")[0] == 200:
            assert time.monotonic() < end
        status, headers, body = server.get("/health/ready")
        live = server.get("/health/live")
        server.process.wait(20)

    assert (status, json.loads(body), headers["connection"]) == (503, {"status": "draining"}, "close")
    assert live[0] == 200 and server.process.returncode == 0


def test_idle_connections_are_closed_before_new_ones_are_no_longer_accepted(issuer, tmp_path):
    settings = SETTINGS | {"JWT_ISSUER": issuer.name, "MAX_CONNECTIONS": "50"}
    with production(free_port(), tmp_path / "log", **settings) as server, ExitStack() as opened:
        idle = []
        for number in range(400):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            connection.sendall(b"GET /health" if number % 2 else b"")  # half a header, or nothing
            idle.append(connection)
            if number % 40 == 0:
                assert server.get("/health/live")[0] == 200
        assert server.get("/health/live")[0] == 200
        idle[0].settimeout(20)
        assert idle[0].recv(1) == b""


def test_a_request_under_way_is_no_idle_connection(issuer, tmp_path):
    settings = SETTINGS | {"JWT_ISSUER": issuer.name, "MAX_CONNECTIONS": "50", "BODY_TIMEOUT": "60"}
    with production(free_port(), tmp_path / "log", **settings) as server, ExitStack() as opened:
        working = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        lines = f"DELETE /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {issuer.token()}\r\n"
        working.sendall(lines.replace("DELETE", "GET").encode() + b"Content-Length: 5\r\n\r\n")
        time.sleep(1)  # it is the connection that has been idle longest
        for _ in range(200):
            opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        assert server.get("/health/live")[0] == 200
        working.sendall(b"12345")
        assert working.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_client_that_connected_before_the_server_stops_accepting_is_served(issuer, tmp_path):
    server = start(tmp_path / "log", {"JWT_ISSUER": issuer.name, "SHUTDOWN_DRAIN": "0"}, free_port())
    with server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        server.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 10
        while is_accepting(server.port):
            assert time.monotonic() < end
            time.sleep(0.01)
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")

        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert server.process.wait(10) == 0


def is_accepting(port):
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=10)):
            return True
    except ConnectionRefusedError:
        return False
