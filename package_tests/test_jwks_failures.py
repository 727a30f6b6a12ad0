"""Each cause of a failed fetch has one message, with the value seen and what to change: the same everywhere."""

import json
import logging
import socket
import ssl
import threading
import time
from itertools import count

import pytest

from package_tests.support.certificates import Authority
from package_tests.support.clock import Clock
from package_tests.support.raw import OK, RawIssuer, response
from package_tests.support.servers import free_port
from package_tests.support.signing import Key
from zuplo_origin.jwks import fetch as fetching
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.ca_bundle import VARIABLES
from zuplo_origin.jwks.client import Policy, RemoteKeySet
from zuplo_origin.jwks.failures import Cause, Failure, shown
from zuplo_origin.jwks.fetch import DISCOVERY, Source
from zuplo_origin.jwks.key_sets import KeySets
from zuplo_origin.jwks.keys import parse_key_set
from zuplo_origin.jwks.report import report

ALLOWED = frozenset(ALGORITHMS)
GOOD = json.dumps({"keys": [Key("ES256", "one").jwk()]}).encode()
MAX_BYTES = 4096


def source(url, issuer="https://issuer.example", timeout=5.0):
    return Source(issuer, url, timeout, MAX_BYTES)


def failure(url, issuer="https://issuer.example", timeout=5.0):
    """Return cause and message of a failure, without the URL in front of it."""
    with pytest.raises(Failure) as caught:
        document = source(url, issuer, timeout).fetch()
        parse_key_set(document.body, ALLOWED, document.url)
    tried, _, text = str(caught.value).partition(": ")
    assert "secret" not in str(caught.value)
    return caught.value.cause.value, text, tried


def failure_of(sends, **options):
    with RawIssuer(sends, **options) as issuer:
        cause, text, tried = failure(issuer.url)
        assert tried == issuer.url
    return cause, text.replace(str(issuer.port), "PORT")


def with_status(line, *headers):
    return response(b"", *headers, start=f"HTTP/1.1 {line}\r\n".encode())


SENT = {
    "301": (
        with_status("301 Moved", "Location: /other"),
        "redirect",
        "status 301 redirects to http://127.0.0.1:PORT/other; redirects are not followed: set JWKS_URL to the final "
        "URL",
    ),
    "308 with credentials": (
        with_status("308 Moved", "Location: https://u:secret@b.example/x?key=secret#y"),
        "redirect",
        "status 308 redirects to https://b.example/x?...; redirects are not followed: set JWKS_URL to the final URL",
    ),
    "302 without a place": (with_status("302 Found"), "status", "status 302, not 200: check JWKS_URL"),
    "304": (with_status("304 Not Modified"), "status", "status 304, not 200: the request was not conditional"),
    "401": (
        with_status("401 Unauthorized"),
        "status",
        "status 401, not 200: the key set must be readable without credentials",
    ),
    "404": (
        with_status("404 Not Found"),
        "status",
        "status 404, not 200: check JWKS_URL; JWKS_URL=discovery reads the URL from the issuer's metadata",
    ),
    "429": (
        with_status("429 Slow", "Retry-After: 7"),
        "status",
        "status 429, not 200: the issuer limits requests; it asks to wait for 7 s",
    ),
    "503": (with_status("503 No"), "status", "status 503, not 200: the server of the issuer has a fault"),
    "101": (OK.replace(b"200 OK", b"101 Switching") + b"\r\n", "status", "status 101, not 200: check JWKS_URL"),
    "announced size": (
        OK + b"Content-Length: 4097\r\n\r\n",
        "too_large",
        "it has 4097 bytes; JWKS_MAX_BYTES allows 4096",
    ),
    "size without announcement": (
        OK + b"\r\n" + b" " * 5000,
        "too_large",
        "it has more than 4096 bytes; JWKS_MAX_BYTES allows 4096",
    ),
    "brotli": (
        response(b"x", "Content-Encoding: br"),
        "content_coding",
        "it has the content coding 'br', which the request does not allow; expected none, or gzip",
    ),
    "gzip twice": (
        response(b"x", "Content-Encoding: gzip, gzip"),
        "content_coding",
        "it has the content coding 'gzip, gzip', which the request does not allow; expected none, or gzip",
    ),
    "broken gzip": (response(b"x" * 40, "Content-Encoding: gzip"), "content_coding", "its gzip content is broken"),
    "UTF-8 mark": (
        response(b"\xef\xbb\xbf" + GOOD),
        "byte_order_mark",
        "it begins with a byte order mark (UTF-8); the server must send JSON in UTF-8 without one",
    ),
    "HTML": (
        response(b"<!doctype html><p>secret</p>"[:16], "Content-Type: text/html"),
        "not_json",
        "it is not JSON; it begins with '<!doctype html><'",
    ),
    "nothing": (response(b""), "not_json", "it is not JSON; it is empty"),
    "error object": (
        response(b'{"error": "x"}'),
        "no_keys",
        "it is not a key set: it is an object with 'error', without a list 'keys'",
    ),
    "empty": (response(b'{"keys": []}'), "empty", "its list of keys is empty; the issuer must publish a key"),
    "unusable": (
        response(b'{"keys": [{"kid": "a", "kty": "RSA", "n": "AQ==", "e": "AQAB"}]}'),
        "no_usable_key",
        "none of its 1 keys is usable: 'a': its n has base64 padding (=); base64url has none in a JWK",
    ),
    "SSH": (
        b"SSH-2.0-OpenSSH_9.6\r\n",
        "not_http",
        "the response is not HTTP; check host and port",
    ),
    "half a body": (
        OK + b"Content-Length: 100\r\n\r\n{",
        "connection_closed",
        "the server closed the connection before a complete response",
    ),
    "silence": (b"", "connection_closed", "the server closed the connection before a complete response"),
    "half a chunk": (
        OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
        "connection_closed",
        "the server closed the connection before a complete response",
    ),
}


@pytest.mark.parametrize("name", SENT)
def test_response_fails_with_its_cause(name):
    sends, *expected = SENT[name]

    assert failure_of(sends) == tuple(expected)


@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3]
)
def test_1xx_responses_are_skipped(first):
    with RawIssuer(first + response(GOOD)) as issuer:
        assert source(issuer.url).fetch().body == GOOD


@pytest.mark.parametrize("kind", ["text/html", "application/jwk-set+json", "application/octet-stream"])
def test_content_type_does_not_matter(kind):
    with RawIssuer(response(GOOD, f"Content-Type: {kind}")) as issuer:
        assert source(issuer.url).fetch().body == GOOD


# -- connections ------------------------------------------------------------------------------------------------------


def test_unknown_host_is_named():
    cause, text, tried = failure("https://u:secret@nowhere.invalid/jwks")

    assert (cause, tried) == ("unknown_host", "https://nowhere.invalid/jwks")
    assert text.startswith("cannot resolve the host nowhere.invalid ('") and text.endswith("check the URL and DNS")


def test_closed_port_is_named():
    port = free_port()

    assert failure(f"http://127.0.0.1:{port}/jwks")[:2] == (
        "closed_port",
        f"127.0.0.1:{port} rejects connections: the port is closed; check host and port",
    )


class FullListener:
    """A listener whose queue is full: it drops the packets of further connections, as a firewall does."""

    def __enter__(self):
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self._fillers = [socket.socket() for _ in range(3)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
        return self

    def __exit__(self, *exception):
        for each in (self._listener, *self._fillers):
            each.close()


def test_timeout_while_connecting_and_while_reading_are_distinguished():
    with FullListener() as full:
        connecting = failure(f"http://127.0.0.1:{full.port}/jwks", timeout=0.4)
    with RawIssuer(b"HTTP/1.1 200 OK\r\n", hangs=True) as silent:
        reading = failure(silent.url, timeout=0.4)

    text = f"no connection to 127.0.0.1:{full.port} within 0.4 s (JWKS_TIMEOUT): tried 127.0.0.1"
    assert connecting[:2] == ("connect_timeout", text)
    assert reading[:2] == ("read_timeout", "connected, but received no complete response within 0.4 s (JWKS_TIMEOUT)")


def resolve_to(monkeypatch, *addresses):
    """Let every host have these addresses and ports. No resolver can be set up for a test without root."""
    found = [
        (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        for host, port in addresses
        for address in [(host, port, 0, 0) if ":" in host else (host, port)]
    ]
    monkeypatch.setattr(fetching.socket, "getaddrinfo", lambda *arguments, **named: found)


def test_address_that_drops_packets_does_not_keep_the_next_from_being_tried(monkeypatch):
    with FullListener() as full, RawIssuer(response(GOOD)) as issuer:
        resolve_to(monkeypatch, ("127.0.0.1", full.port), ("127.0.0.1", full.port), ("127.0.0.1", issuer.port))
        began = time.monotonic()
        assert source("http://issuer.example/jwks", timeout=5).fetch().body == GOOD
        assert time.monotonic() - began < 4
        assert source("http://issuer.example/jwks", timeout=0.9).fetch().body == GOOD


def test_address_that_is_not_routed_or_closed_is_passed_over_at_once(monkeypatch):
    with RawIssuer(response(GOOD)) as issuer:
        closed, other = free_port(), free_port()
        resolve_to(monkeypatch, ("2001:db8::1", closed), ("127.0.0.1", closed), ("127.0.0.1", issuer.port))
        assert source("http://issuer.example/jwks").fetch().body == GOOD
        resolve_to(monkeypatch, ("127.0.0.1", closed), ("127.0.0.1", other))
        cause, text, _ = failure("http://issuer.example/jwks")
    assert (cause, text) == (
        "closed_port",
        "issuer.example:80 rejects connections: the port is closed; check host and port",
    )


def test_connections_of_a_lost_race_are_closed(monkeypatch):
    with RawIssuer(response(GOOD)) as first, RawIssuer(response(GOOD)) as second:
        resolve_to(monkeypatch, ("127.0.0.1", first.port), ("127.0.0.1", second.port))
        assert source("http://issuer.example/jwks").fetch().body == GOOD
        assert len(first.requests) == 1 and second.requests == []


def test_issuer_on_ipv6_is_fetched():
    with RawIssuer(response(GOOD), host="::1") as issuer:
        assert source(issuer.url).fetch().body == GOOD


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


NAMES = count()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in (*VARIABLES, "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def certified(authority, **options):
    """Return the TLS context of a server with a certificate of `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(f"server-{next(NAMES)}", **options))
    return context


def tls_failure(authority, monkeypatch, **options):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with RawIssuer(response(GOOD), tls=certified(authority, **options)) as issuer:
        return failure(issuer.url.replace("127.0.0.1", "localhost"))[:2]


def test_expired_certificate_is_named(authority, monkeypatch):
    text = "the TLS certificate has expired; the server must renew it"

    assert tls_failure(authority, monkeypatch, days=-1) == ("tls_expired", text)


def test_certificate_of_the_future_is_named(authority, monkeypatch):
    text = "the TLS certificate is not valid yet; check the clock of this machine"

    assert tls_failure(authority, monkeypatch, starts_in=5) == ("tls_not_yet_valid", text)


def test_certificate_of_another_host_is_named(authority, monkeypatch):
    cause, text = tls_failure(authority, monkeypatch, hosts=["other.example"])

    assert cause == "tls_wrong_host" and text.startswith("the TLS certificate is for another host (")
    assert "localhost" in text


@pytest.mark.parametrize("variable", [None, "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_unknown_ca_names_the_variable_that_adds_it(authority, monkeypatch, tmp_path, variable):
    if variable is not None:
        monkeypatch.setenv(variable, str(Authority(tmp_path, "other").path))
    with RawIssuer(response(GOOD), tls=certified(authority)) as issuer:
        cause, text, _ = failure(issuer.url)

    assert cause == "tls_unknown_ca" and text.startswith("the TLS certificate is not trusted (")
    assert text.endswith(f"; add its CA to the file in {variable or 'SSL_CERT_FILE'}")


def test_port_without_tls_is_named(authority):
    with RawIssuer(with_status("400 Bad Request"), at_once=True) as issuer:
        cause, text, _ = failure(issuer.url.replace("http:", "https:"))

    assert (cause, text) == ("tls_failed", "the server does not use TLS on this port; check scheme and port")


# -- proxies ----------------------------------------------------------------------------------------------------------


def test_closed_port_of_a_proxy_is_named_without_its_password(monkeypatch):
    port = free_port()
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{port}")

    cause, text, tried = failure("https://issuer.example/jwks")
    proxy = f"the proxy http://127.0.0.1:{port} (HTTPS_PROXY)"
    assert (cause, tried) == ("proxy", "https://issuer.example/jwks")
    assert text == f"{proxy} rejects connections: the port is closed; check host and port"


def test_unknown_host_of_a_proxy_is_named(monkeypatch):
    monkeypatch.setenv("all_proxy", "http://user:secret@nowhere.invalid:3128")

    cause, text, _ = failure("https://issuer.example/jwks")
    assert cause == "proxy" and "cannot resolve the host of the proxy http://nowhere.invalid:3128 (all_proxy)" in text


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("407 Proxy Authentication Required", "put user and password into its URL"),
        ("403 No", "it must allow this host"),
    ],
)
def test_rejection_by_a_proxy_is_named(monkeypatch, status, hint):
    with RawIssuer(with_status(status)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy.port}")
        cause, text, _ = failure("https://issuer.example/jwks")

    named = f"the proxy http://127.0.0.1:{proxy.port} (HTTPS_PROXY) rejects the connection with '{status}'; {hint}"
    assert (cause, text) == ("proxy", named)


def test_silent_proxy_is_named(monkeypatch):
    with RawIssuer(b"", hangs=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        cause, text, _ = failure("https://issuer.example/jwks", timeout=0.4)

    assert cause == "read_timeout" and f"connected through the proxy http://127.0.0.1:{proxy.port}" in text


# -- discovery --------------------------------------------------------------------------------------------------------


class Metadata:
    """An issuer whose metadata a test sets."""

    def __init__(self, **members):
        self._members = members

    def __enter__(self):
        self._raw = RawIssuer(b"")
        self.issuer = self._raw.url.removesuffix("/jwks")
        metadata = {"issuer": self.issuer} | self._members
        self._raw.sends = response(json.dumps({k: v for k, v in metadata.items() if v is not ...}).encode())
        return self

    def __exit__(self, *exception):
        self._raw.__exit__()

    def failure(self):
        cause, text, tried = failure(DISCOVERY, self.issuer)
        assert tried == f"{self.issuer}/.well-known/openid-configuration" and len(self._raw.requests) == 1
        return cause, text


FIX = "; set JWKS_URL to the URL of the key set"
URIS = {
    None: "its jwks_uri is missing",
    "": "its jwks_uri is missing",
    5: "its jwks_uri is not a string",
    "/jwks": "its jwks_uri '/jwks' is relative, not a whole URL",
    "jwks.json": "its jwks_uri 'jwks.json' is relative, not a whole URL",
    "http://a.example/jwks": "its jwks_uri 'http://a.example/jwks' is not an https URL without user and fragment",
    "https://u:secret@a.example/": "its jwks_uri 'https://a.example/' is not an https URL without user and fragment",
    "file:///etc/passwd": "its jwks_uri 'file:///etc/passwd' is not an https URL without user and fragment",
    "https://bücher.example/": "its jwks_uri 'https://b?cher.example/' has characters beyond ASCII; "
    "a host name needs punycode",
}


@pytest.mark.parametrize("uri", URIS, ids=range(len(URIS)))
def test_unacceptable_jwks_uri_is_named(uri):
    with Metadata(jwks_uri=uri) as metadata:
        assert metadata.failure() == ("discovery_jwks_uri", URIS[uri] + FIX)


def test_other_issuer_in_the_metadata_is_named():
    with Metadata(issuer="https://other.example") as metadata:
        text = f"its issuer is 'https://other.example', and JWT_ISSUER is '{metadata.issuer}'; they must be equal"
        assert metadata.failure() == ("discovery_issuer", text)
    with Metadata(issuer=...) as metadata:
        text = f"it has no issuer, and JWT_ISSUER is '{metadata.issuer}'; they must be equal"
        assert metadata.failure() == ("discovery_issuer", text)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("93.184.216.34", "127.0.0.1", "loopback"),
        ("93.184.216.34", "169.254.169.254", "link-local"),
        ("93.184.216.34", "10.0.0.1", "private"),
        ("93.184.216.34", "::ffff:127.0.0.1", "loopback"),
        ("93.184.216.34", "fd00::1", "private"),
        ("93.184.216.34", "64:ff9b::7f00:1", "loopback"),
        ("93.184.216.34", "0.0.0.0", "private"),  # noqa: S104
        ("93.184.216.34", "64:ff9b::a00:1", "private"),
        ("93.184.216.34", "2002:a00:1::1", "private"),
        ("10.0.0.1", "127.0.0.1", "loopback"),
        ("127.0.0.1", "127.0.0.2", None),
        ("10.0.0.1", "192.168.0.1", None),
        ("10.0.0.1", "93.184.216.34", None),
        ("2606:2800:220:1::1", "93.184.216.34", None),
    ],
)
def test_metadata_leads_to_no_less_protected_address(monkeypatch, first, second, kind):
    places = fetching.Places()
    places.reached.add(fetching.kind_of(first))
    places.restrict()
    resolve_to(monkeypatch, (second, 1))
    monkeypatch.setattr(fetching._Race, "run", closed)  # nothing outside of this machine is connected to
    with fetching.Deadline(5) as deadline, pytest.raises(Failure) as caught:
        fetching.connect("x.example", 1, deadline, places, "https://x.example/", None)
    if kind is None:
        assert caught.value.cause is Cause.CLOSED_PORT
    else:
        assert caught.value.cause is Cause.LESS_PROTECTED and f"has a {kind} address" in str(caught.value)


def closed(race):
    raise ConnectionRefusedError


def test_metadata_of_a_public_issuer_does_not_lead_to_loopback(monkeypatch, authority):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with RawIssuer(b"", tls=certified(authority, hosts=["issuer.example", "localhost"])) as issuer:
        resolve_to(monkeypatch, ("127.0.0.1", issuer.port))
        metadata = {"issuer": "https://issuer.example", "jwks_uri": "https://localhost/jwks"}
        issuer.sends = response(json.dumps(metadata).encode())
        kinds, original = iter(["public"]), fetching.kind_of  # as if the first address were in the Internet
        monkeypatch.setattr(fetching, "kind_of", lambda address: next(kinds, None) or original(address))
        cause, text, tried = failure(DISCOVERY, "https://issuer.example")

    assert (cause, tried, len(issuer.requests)) == ("less_protected", "https://localhost/jwks", 1)
    assert text.startswith("its host has a loopback address, ") and "set JWKS_URL to this URL to allow it" in text


@pytest.mark.parametrize("host", ["127.0.0.2", "169.254.169.254", "10.0.0.1", "[fd00::1]"])
def test_metadata_does_not_lead_to_a_protected_address_through_a_proxy(monkeypatch, authority, host):
    proxied = fetching.fetch

    def through_a_proxy(url, deadline, max_bytes, places):
        """Fetch as through a proxy: the address of the issuer is not known."""
        document = proxied(url, deadline, max_bytes, fetching.Places())
        assert url.endswith("/openid-configuration")
        return document

    monkeypatch.setattr(fetching, "fetch", through_a_proxy)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with RawIssuer(b"", tls=certified(authority, hosts=["issuer.example"])) as issuer:
        resolve_to(monkeypatch, ("127.0.0.1", issuer.port))
        metadata = {"issuer": "https://issuer.example", "jwks_uri": f"https://{host}/jwks"}
        issuer.sends = response(json.dumps(metadata).encode())
        assert failure(DISCOVERY, "https://issuer.example")[0] == "less_protected"


def test_host_with_many_addresses_is_tried_within_the_deadline(monkeypatch):
    with FullListener() as full:
        resolve_to(monkeypatch, *[("127.0.0.1", full.port)] * 300)
        assert failure("http://issuer.example/jwks", timeout=0.6)[0] == "connect_timeout"


# -- the same words everywhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["404", "HTML", "unusable", "301", "announced size"])
def test_log_report_and_readiness_use_the_same_words(name, caplog):
    with RawIssuer(SENT[name][0]) as issuer:
        made = source(issuer.url)
        keys = RemoteKeySet("x", made.fetch, ALLOWED, Policy(), threading.BoundedSemaphore(1), Clock())
        sets = KeySets([keys])
        keys.refresh_if_due()
        keys._in_flight.succeeded.result(30)
        sets.readiness()
        found = report(made, ALLOWED)

    fields = {record.msg.name: record.msg.fields for record in caplog.records if record.levelno == logging.WARNING}
    words, cause = found.failure, SENT[name][1]
    assert (fields["jwks_outage_begins"]["why"], fields["jwks_outage_begins"]["cause"]) == (words, cause)
    assert fields["jwks_readiness"]["why"] == words
    assert json.loads(json.dumps(found.as_dict()))["failure"] == words
    assert json.loads(json.dumps(found.as_dict()))["cause"] == cause


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://user:secret@a.example:8443/x?key=secret#secret", "https://a.example:8443/x?..."),
        ("https://a.example/\n\x1b[31mé", "https://a.example/?[31m?"),
        ("https://[::1]:8/x", "https://[::1]:8/x"),
    ],
)
def test_url_is_shown_without_credentials(url, text):
    assert shown(url) == text
