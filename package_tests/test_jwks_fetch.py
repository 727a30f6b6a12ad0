"""One exchange with an issuer on a real connection, and its failures."""

import datetime
import gzip
import http.server
import json
import os
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from package_tests.support.issuer import Issuer, send
from package_tests.support.servers import free_port
from zuplo_origin.jwks.failures import Failure, FetchFailed
from zuplo_origin.jwks.fetch import DISCOVERY, Source, is_acceptable_url


def source(issuer, url=None, timeout=5.0, max_bytes=65536):
    return Source(issuer.name, url or issuer.jwks_url, timeout, max_bytes)


def failure(issuer, behave=None, **options):
    """Return the reason of the failure, and the seconds that the fetch took."""
    issuer.behave = behave
    began = time.monotonic()
    with pytest.raises(FetchFailed) as caught:
        source(issuer, **options).fetch()
    return str(caught.value), time.monotonic() - began


@pytest.fixture
def local():
    made = Issuer([])
    yield made
    made.close()


def test_response_has_a_body_a_url_and_a_max_age(local):
    local.headers = {"ETag": '"v1"', "Cache-Control": "public, max-age=90"}

    document = source(local).fetch()

    assert (json.loads(document.body), document.url, document.max_age) == ({"keys": []}, local.jwks_url, 90)


@pytest.mark.parametrize(
    ("headers", "max_age"),
    [
        ({"Cache-Control": "max-age=90", "Age": "30"}, 60),
        ({"Cache-Control": "max-age=90", "Age": "100"}, 0),
        ({"Cache-Control": "max-age=90", "Age": "x"}, 90),
        ({"Cache-Control": 's-maxage=5, MAX-AGE="90"'}, 90),
        ({"Cache-Control": "no-store"}, None),
        ({"Age": "30"}, None),
        ({}, None),
    ],
)
def test_age_in_caches_shortens_max_age(local, headers, max_age):
    local.headers = headers

    assert source(local).fetch().max_age == max_age


def test_request_accepts_every_type_and_is_not_conditional(local):
    local.headers = {"ETag": '"v1"', "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}
    for _ in range(2):
        source(local).fetch()

    for _, headers in local.requests:
        assert headers["Accept"] == "application/jwk-set+json, application/json, */*;q=0.1"
        assert not {"If-None-Match", "If-Modified-Since"} & set(headers)


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 404, 406, 429, 500, 503])
def test_status_other_than_200_is_rejected(local, status):
    assert f"status {status}" in failure(local, lambda handler: send(handler, status, b""))[0]


def test_redirect_is_not_followed(local):
    elsewhere = Issuer([])
    text, _ = failure(local, lambda handler: send(handler, 302, b"", {"Location": elsewhere.jwks_url}))
    elsewhere.close()

    assert "status 302" in text
    assert elsewhere.requests == []


def test_large_document_is_rejected_while_it_is_read(local):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 65536)
        except OSError:
            pass

    text, seconds = failure(local, endless, max_bytes=100_000)
    assert "more than 100000 bytes; JWKS_MAX_BYTES allows 100000" in text and seconds < 4


def test_size_limit_counts_decompressed_bytes(local):
    bomb = gzip.compress(b"\0" * 30_000_000)
    text, seconds = failure(local, lambda handler: send(handler, 200, bomb, {"Content-Encoding": "gzip"}))

    assert "more than 65536 bytes" in text and seconds < 4


def test_compressed_document_is_read(local):
    body = gzip.compress(b'{"keys": []}')
    local.behave = lambda handler: send(handler, 200, body, {"Content-Encoding": "gzip"})

    assert source(local).fetch().body == b'{"keys": []}'


def test_invalid_compression_is_rejected(local):
    assert failure(local, lambda handler: send(handler, 200, b"no gzip", {"Content-Encoding": "gzip"}))[0]


def drip(handler, start):
    handler.wfile.write(start)
    try:
        for _ in range(200):
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass
    handler.close_connection = True


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTT"],
    ids=["body", "headers", "status line"],
)
def test_fetch_ends_at_its_deadline_if_the_server_drips(local, start):
    text, seconds = failure(local, lambda handler: drip(handler, start), timeout=0.5)

    assert "no complete response within 0.5 s (JWKS_TIMEOUT)" in text and 0.4 < seconds < 8


def test_fetch_ends_at_its_deadline_if_the_server_hangs(local):
    release = threading.Event()
    text, seconds = failure(local, lambda handler: release.wait(10), timeout=0.5)
    release.set()

    assert "no complete response within 0.5 s" in text and seconds < 8


def test_fetch_ends_at_its_deadline_if_the_server_never_accepts(local):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        full = [socket.socket() for _ in range(3)]
        for filler in full:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/jwks"
        text, seconds = failure(local, url=url, timeout=0.5)
        for filler in full:
            filler.close()

    assert "no connection to 127.0.0.1:" in text and "within 0.5 s" in text and seconds < 8


def test_closed_port_fails_at_once(local):
    text, seconds = failure(local, url=f"http://127.0.0.1:{free_port()}/jwks")

    assert "rejects connections: the port is closed" in text and seconds < 3


def test_broken_connection_is_tried_once_more(local):
    def break_once(handler):
        if len(local.requests) == 1:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
        else:
            send(handler, 200, json.dumps(local.key_set()).encode())

    local.behave = break_once

    assert source(local).fetch().body == b'{"keys": []}'
    assert len(local.requests) == 2


def test_incomplete_body_is_rejected(local):
    def short(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        handler.close_connection = True

    assert "the server closed the connection before a complete response" in failure(local, short)[0]


def test_response_that_is_not_http_is_rejected(local):
    def noise(handler):
        handler.wfile.write(os.urandom(200) + b"\r\n\r\n")
        handler.close_connection = True

    assert failure(local, noise)[0]


def self_signed(folder):
    """Write a certificate for localhost. Return a file with its key, and one without."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    ).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + certificate)
    (folder / "trusted.pem").write_bytes(certificate)
    return folder / "both.pem", folder / "trusted.pem"


def test_untrusted_certificate_is_rejected(tmp_path, monkeypatch):
    certificate, trusted = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            send(self, 200, b'{"keys": []}')

        def log_message(self, *arguments):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True).start()
    url = f"https://localhost:{server.server_port}/jwks"
    try:
        with pytest.raises(FetchFailed, match="TLS"):
            Source(url, url, 5, 262144).fetch()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
        assert Source(url, url, 5, 262144).fetch().body == b'{"keys": []}'
    finally:
        server.shutdown()
        server.server_close()


def test_loopback_is_fetched_without_a_proxy(local, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

    assert source(local).fetch().body == b'{"keys": []}'


def test_other_hosts_are_fetched_through_the_proxy_of_the_environment(local, monkeypatch):
    monkeypatch.setenv("http_proxy", local.origin)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert Source("x", "http://issuer.example/jwks", 5, 262144).fetch().body == b'{"keys": []}'
    assert local.requests[0][0] == "http://issuer.example/jwks"


def test_credentials_in_netrc_are_not_sent(local, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    source(local).fetch()

    assert "Authorization" not in local.requests[0][1]


# -- discovery --------------------------------------------------------------------------------------------------------


def discovered(local, metadata):
    def behave(handler):
        if handler.path.endswith("/openid-configuration"):
            send(handler, 200, metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode())
        else:
            send(handler, 200, json.dumps(local.key_set()).encode())

    local.behave = behave
    return source(local, url=DISCOVERY).fetch()


def test_discovery_finds_the_jwks_uri(local):
    elsewhere = f"{local.origin}/elsewhere"

    assert discovered(local, {"issuer": local.name, "jwks_uri": elsewhere}).body == b'{"keys": []}'
    assert [path for path, _ in local.requests] == ["/__zuplo/issuer/.well-known/openid-configuration", "/elsewhere"]


@pytest.mark.parametrize(
    "metadata",
    [b"<html>", b"[]", {}, {"issuer": "https://other"}, {"issuer": "SELF"}, {"issuer": "SELF", "jwks_uri": 5}]
    + [{"issuer": "SELF", "jwks_uri": "http://example.com/jwks"}, {"issuer": "SELF", "jwks_uri": "file:///etc/passwd"}],
)
def test_untrusted_discovery_document_is_rejected(local, metadata):
    if isinstance(metadata, dict) and metadata.get("issuer") == "SELF":
        metadata = {**metadata, "issuer": local.name}

    with pytest.raises(Failure):
        discovered(local, metadata)
    assert len(local.requests) == 1


@pytest.mark.parametrize(
    ("url", "acceptable"),
    [
        ("https://issuer.example/jwks", True),
        ("https://issuer.example:8443/jwks?x=1", True),
        ("http://127.0.0.1:8001/jwks", True),
        ("http://127.9.9.9/jwks", True),
        ("http://[::1]:8001/jwks", True),
        ("http://localhost/jwks", True),
        ("http://issuer.example/jwks", False),
        ("http://localhost.example/jwks", False),
        ("http://127.0.0.1.example/jwks", False),
        ("http://169.254.169.254/jwks", False),
        ("https://user:secret@issuer.example/jwks", False),
        ("https://issuer.example/jwks#fragment", False),
        ("https://issuer.example/a b", False),
        ("https:///jwks", False),
        ("https://issuer.example:99999/", False),
        ("ftp://issuer.example/jwks", False),
        ("issuer.example", False),
        ("https://[::1", False),
        ("", False),
    ],
)
def test_acceptable_urls(url, acceptable):
    assert is_acceptable_url(url) is acceptable
