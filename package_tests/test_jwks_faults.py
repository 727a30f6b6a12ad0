"""Faults of an issuer, with and without cached keys: keys are found or unavailable, and no call hangs."""

import gzip
import os
import socket
import time

import pytest

from package_tests.support.issuer import send
from package_tests.support.key_sets import ES256, KeySetHarness
from package_tests.support.servers import free_port
from package_tests.support.signing import Key
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
    """Send a byte now and then, for longer than a fetch may take."""
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
            handler.wfile.write(b" " * 262144)
    except OSError:
        handler.close_connection = True


def responding(status, body, headers=None):
    return lambda handler: send(handler, status, body, headers)


FAULTS = {
    "reset": reset,
    "500": responding(500, b""),
    "503": responding(503, b"{}"),
    "404": responding(404, b"<html>"),
    "401": responding(401, b""),
    "HTML": responding(200, b"<!doctype html><title>Sign in</title>", {"Content-Type": "text/html"}),
    "empty": responding(200, b""),
    "a list": responding(200, b"[]"),
    "null": responding(200, b"null"),
    "no keys": responding(200, b'{"keys": []}'),
    "unusable keys": responding(200, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "RSA"}]}'),
    "keys that are no list": responding(200, b'{"keys": {"a": 1}}'),
    "a redirect": responding(302, b"", {"Location": "http://127.0.0.1:1/"}),
    "a permanent redirect": responding(308, b"", {"Location": "/elsewhere"}),
    "hang": hang,
    "drip": drip,
    "endless": endless,
    "a bomb": responding(200, BOMB, {"Content-Encoding": "gzip"}),
    "noise": lambda handler: (handler.wfile.write(os.urandom(500)), setattr(handler, "close_connection", True)),
    "unchanged, unasked": responding(304, b""),
}


def apply(harness, name):
    """Make the issuer fail with the fault `name`."""
    if name == "connection refused":
        harness.keys._fetch = Source(harness.issuer.name, f"http://127.0.0.1:{free_port()}/jwks", TIMEOUT, 262144).fetch
    elif name == "no TLS":
        url = harness.issuer.jwks_url.replace("http://", "https://")
        harness.keys._fetch = Source(harness.issuer.name, url, TIMEOUT, 262144).fetch
    elif name == "no such host":
        harness.keys._fetch = Source(harness.issuer.name, "https://issuer.invalid/jwks", TIMEOUT, 262144).fetch
    else:
        harness.keys._fetch, harness.issuer.behave = harness.impatient, FAULTS[name]


@pytest.fixture
def harness():
    harness = KeySetHarness(timeout=TIMEOUT, ttl=600, max_stale=60)
    harness.impatient, harness.working = (
        harness.keys._fetch,
        Source(harness.issuer.name, harness.issuer.jwks_url, 30, 262144).fetch,
    )
    harness.keys._fetch = harness.working
    yield harness
    harness.issuer.close()


EVERY = [*FAULTS, "connection refused", "no TLS", "no such host"]


@pytest.mark.parametrize("name", EVERY)
def test_fault_without_cached_keys_makes_keys_unavailable_until_it_ends(harness, name):
    apply(harness, name)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(KeysUnavailable) as caught:
            harness.finds()
        assert 1 <= caught.value.retry_after <= 4
    assert time.monotonic() - began < TIMEOUT + 8
    harness.wait_for_fetch()
    assert harness.keys.failing() and harness.keys.cached() is None

    harness.keys._fetch, harness.issuer.behave = harness.working, None
    harness.clock.pass_(4)
    harness.tick()
    assert harness.finds() and not harness.keys.failing()


@pytest.mark.parametrize("name", EVERY)
def test_fault_with_cached_keys_does_not_affect_known_keys(harness, name):
    harness.tick()
    generation = harness.keys.generation()
    apply(harness, name)
    harness.clock.pass_(590)
    harness.keys.refresh_if_due()
    began = time.perf_counter()
    for _ in range(100):
        assert harness.finds()
    assert time.perf_counter() - began < 5  # of which the network would take a hundred times TIMEOUT
    with pytest.raises(KeysUnavailable):  # after a failed fetch, an unknown key may be a new one
        harness.finds("unknown")
    harness.wait_for_fetch()
    assert harness.keys.failing() and harness.keys.generation() == generation

    harness.keys._fetch, harness.issuer.behave = harness.working, None
    harness.issuer.keys.append(Key(ES256, "two"))
    harness.clock.pass_(5)
    harness.tick()
    assert harness.finds("two") and not harness.keys.failing()
