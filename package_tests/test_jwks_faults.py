"""Every fault of an issuer, at the start and with keys held: good tokens are served or told 503, and nobody hangs."""

import gzip
import os
import socket
import time

import pytest

from package_tests.support.issuer import send
from package_tests.support.servers import free_port
from package_tests.support.signing import Key
from package_tests.test_jwks_remote import ES256, World
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwks.fetch import Source

TIMEOUT = 0.6
BOMB = gzip.compress(b"\0" * 100_000_000)


def reset(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()
    handler.close_connection = True


def hang(handler):
    time.sleep(3 * TIMEOUT)
    handler.close_connection = True


def drip(handler):
    """One byte in a while, for longer than any fetch may take."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
    stop_at = time.monotonic() + 3 * TIMEOUT
    try:
        while time.monotonic() < stop_at:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(TIMEOUT / 6)
    except OSError:
        pass
    handler.close_connection = True


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 65536)
    except OSError:
        handler.close_connection = True


def answering(status, body, headers=None):
    return lambda handler: send(handler, status, body, headers)


FAULTS = {
    "reset": reset,
    "500": answering(500, b""),
    "503": answering(503, b"{}"),
    "404": answering(404, b"<html>"),
    "401": answering(401, b""),
    "HTML": answering(200, b"<!doctype html><title>Sign in</title>", {"Content-Type": "text/html"}),
    "empty": answering(200, b""),
    "a list": answering(200, b"[]"),
    "null": answering(200, b"null"),
    "no keys": answering(200, b'{"keys": []}'),
    "unusable keys": answering(200, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "RSA"}]}'),
    "keys that are no list": answering(200, b'{"keys": {"a": 1}}'),
    "a redirect": answering(302, b"", {"Location": "http://127.0.0.1:1/"}),
    "a permanent redirect": answering(308, b"", {"Location": "/elsewhere"}),
    "hang": hang,
    "drip": drip,
    "endless": endless,
    "a bomb": answering(200, BOMB, {"Content-Encoding": "gzip"}),
    "noise": lambda handler: (handler.wfile.write(os.urandom(500)), setattr(handler, "close_connection", True)),
    "unchanged, unasked": answering(304, b""),
}


def apply(w, name):
    """Make the issuer fail in the way of `name`."""
    if name == "refused":
        w.keys._fetch = Source(w.issuer.name, f"http://127.0.0.1:{free_port()}/jwks", TIMEOUT, 65536).fetch
    elif name == "no TLS":
        url = w.issuer.jwks_url.replace("http://", "https://")
        w.keys._fetch = Source(w.issuer.name, url, TIMEOUT, 65536).fetch
    elif name == "no such host":
        w.keys._fetch = Source(w.issuer.name, "https://issuer.invalid/jwks", TIMEOUT, 65536).fetch
    else:
        w.keys._fetch, w.issuer.behave = w.impatient, FAULTS[name]


@pytest.fixture
def world():
    w = World(timeout=TIMEOUT, ttl=600, max_stale=60)
    w.impatient, w.working = w.keys._fetch, Source(w.issuer.name, w.issuer.jwks_url, 30, 65536).fetch
    w.keys._fetch = w.working
    yield w
    w.issuer.close()


EVERY = [*FAULTS, "refused", "no TLS", "no such host"]


@pytest.mark.parametrize("name", EVERY)
def test_at_the_start(world, name):
    w = world
    apply(w, name)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(KeysUnavailable) as caught:
            w.finds()
        assert 1 <= caught.value.retry_after <= 4
    assert time.monotonic() - began < TIMEOUT + 8
    w.settle()
    assert w.keys.failing() and w.keys.held() is None

    w.keys._fetch, w.issuer.behave = w.working, None
    w.clock.pass_(4)
    w.tick()
    assert w.finds() and not w.keys.failing()


@pytest.mark.parametrize("name", EVERY)
def test_with_keys_held(world, name):
    w = world
    w.tick()
    generation = w.keys.generation()
    apply(w, name)
    w.clock.pass_(590)
    w.keys.refresh_if_due()
    began = time.perf_counter()
    for _ in range(100):
        assert w.finds()
    assert time.perf_counter() - began < 5  # of which the network would take a hundred times TIMEOUT
    with pytest.raises(KeysUnavailable):  # after a fetch that failed, an unknown id is nobody's fault
        w.finds("unknown")
    w.settle()
    assert w.keys.failing() and w.keys.generation() == generation

    w.keys._fetch, w.issuer.behave = w.working, None
    w.issuer.keys.append(Key(ES256, "two"))
    w.clock.pass_(5)
    w.tick()
    assert w.finds("two") and not w.keys.failing()
