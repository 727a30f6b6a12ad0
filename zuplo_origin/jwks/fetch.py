"""One HTTP exchange with an issuer, limited in time and size."""

import ipaddress
import os
import re
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from zuplo_origin.encoding import load_json

from .ca_bundle import ca_bundle
from .keys import KeySet, WantedKey


class Deadline:
    """A time limit, ``seconds`` from now, at which all registered connections are shut down. A context manager.

    A socket's timeout starts again with each byte, so a server that sends a byte now and then can keep its client
    waiting forever. A timer shuts the connections down instead, which ends every read and write on them.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True
        self._lock = threading.Lock()  # guards the two below
        self._sockets: list[socket.socket] = []
        self._over = False

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    def left(self) -> float:
        """Return the seconds until the deadline. Raises ``TimeoutError`` if it has passed."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def over(self) -> bool:
        """Return whether the deadline has passed."""
        return time.monotonic() >= self._end

    def watch(self, connected: socket.socket) -> None:
        """Shut ``connected`` down at the deadline."""
        # a duplicate: TLS takes over the socket itself, and a shutdown works through either
        duplicate = socket.socket(fileno=os.dup(connected.fileno()))
        with self._lock:
            self._sockets.append(duplicate)
            if self._over:
                _shut_down(duplicate)

    def _shut(self) -> None:
        with self._lock:
            self._over = True
            for connection in self._sockets:
                _shut_down(connection)


def _shut_down(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the server has closed the connection


class DeadlineAdapter(HTTPAdapter):
    """A transport of ``requests`` whose connections are shut down at a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _watched(super()._new_conn(), deadline)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _watched(super()._new_conn(), deadline)

        self._classes = {"http": Plain, "https": Secure}
        super().__init__()

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        pool.ConnectionCls = self._classes[pool.scheme]
        return pool


def _watched(connected: socket.socket, deadline: Deadline) -> socket.socket:
    deadline.watch(connected)
    return connected


_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})", re.IGNORECASE)

_TOO_SLOW = "no whole response before the deadline"


class FetchFailed(Exception):
    """A fetch without a usable response. Its text is the reason, and quotes nothing from the server."""


class Deferred(Exception):
    """A fetch that was not made: unknown keys have caused as many fetches of all processes together as they may."""


class ConnectionBroken(FetchFailed):
    """A connection that could not be opened, or broke. One more attempt may succeed."""


@dataclass(frozen=True)
class Document:
    """A server's response. ``body`` is ``None`` for status 304, not modified (RFC 9110, section 15.4.5).

    ``max_age`` is in seconds (RFC 9111, section 5.2.2.1). For a response that another process fetched, ``age`` is how
    many seconds ago. ``key_set`` is the parsed body, if it was parsed already.
    """

    body: bytes | None
    etag: str | None = None
    max_age: int | None = None
    age: float = 0.0
    key_set: KeySet | None = None


def is_loopback(url: str) -> bool:
    """Return whether the host of ``url`` is this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fetch(url: str, deadline: Deadline, max_bytes: int, etag: str | None = None) -> Document:
    """Return the document at ``url``, if it arrives by the ``deadline`` and has at most ``max_bytes`` decompressed.

    ``etag`` is that of the cached document, if any. A connection that breaks is tried once more. Raises
    ``FetchFailed`` for anything but a complete 200, or a 304 if an ``etag`` was given.
    """
    try:
        return _attempt(url, deadline, max_bytes, etag)
    except ConnectionBroken:
        return _attempt(url, deadline, max_bytes, etag)


def _attempt(url: str, deadline: Deadline, max_bytes: int, etag: str | None) -> Document:
    try:
        return _exchange(url, deadline, max_bytes, etag)
    except requests.exceptions.SSLError as error:
        raise FetchFailed("TLS failed: the certificate is not trusted, or the server does not use TLS") from error
    except (TimeoutError, requests.Timeout, ReadTimeoutError) as error:
        raise FetchFailed(_TOO_SLOW) from error
    except (requests.ConnectionError, ProtocolError) as error:
        if deadline.over():
            raise FetchFailed(_TOO_SLOW) from error
        raise ConnectionBroken("the connection failed") from error
    except (requests.RequestException, HTTPError, ValueError) as error:
        raise FetchFailed("the response is not valid HTTP") from error


def _exchange(url: str, deadline: Deadline, max_bytes: int, etag: str | None) -> Document:
    with requests.Session() as session:
        for prefix in ("http://", "https://"):
            session.mount(prefix, DeadlineAdapter(deadline))
        session.auth = _no_credentials
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "zuplo-origin"}
        if etag is not None:
            headers["If-None-Match"] = etag
        request = session.prepare_request(requests.Request("GET", url, headers=headers))
        environment = session.merge_environment_settings(url, {}, True, None, None)
        environment["verify"] = bundle[1] if (bundle := ca_bundle()) else True
        if is_loopback(url):
            environment["proxies"] = {}
        with session.send(request, timeout=deadline.left(), allow_redirects=False, **environment) as response:
            if response.status_code == 304 and etag is not None:
                return Document(None, etag, _max_age(response))
            if response.status_code != 200:
                raise FetchFailed(f"the response has status {response.status_code}, not 200")
            body = _read(response, deadline, max_bytes)
            return Document(body, response.headers.get("ETag"), _max_age(response))


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep ``requests`` from reading credentials from ``.netrc``."""
    return request


def _read(response: requests.Response, deadline: Deadline, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        deadline.left()
        chunk = response.raw.read1(max_bytes + 1 - len(body), decode_content=True)
        if not chunk:
            return bytes(body)
        body += chunk
        if len(body) > max_bytes:
            raise FetchFailed(f"the response is larger than {max_bytes} bytes")


def _max_age(response: requests.Response) -> int | None:
    match = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
    return int(match.group(1)) if match else None


DISCOVERY = "discovery"
"""The value that stands for a URL: read it from the issuer's discovery document."""


def is_acceptable_url(url: str) -> bool:
    """Return whether keys may be fetched from ``url``: https, or http on loopback; no credentials, no fragment."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    if not usable or "@" in parts.netloc or parts.fragment or not url.isascii() or any(c <= " " for c in url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))


@dataclass(frozen=True)
class Source:
    """The key set of ``issuer`` at ``url``, or at its discovered URL (OpenID Connect Discovery 1.0, section 4).

    ``timeout`` is in seconds, for the whole fetch; ``max_bytes`` limits each document.
    """

    issuer: str
    url: str
    timeout: float
    max_bytes: int

    def fetch(self, etag: str | None = None, wanted: WantedKey | None = None) -> Document:
        """Return the issuer's response. Raises ``FetchFailed``. ``wanted`` makes no difference here."""
        with Deadline(self.timeout) as deadline:
            url = self._discovered(deadline) if self.url == DISCOVERY else self.url
            return fetch(url, deadline, self.max_bytes, etag)

    def _discovered(self, deadline: Deadline) -> str:
        url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            metadata = load_json(fetch(url, deadline, self.max_bytes).body or b"")
        except ValueError:
            raise FetchFailed("the discovery document is not JSON") from None
        if not isinstance(metadata, dict) or metadata.get("issuer") != self.issuer:
            raise FetchFailed("the discovery document is not this issuer's")
        jwks_uri = metadata.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not is_acceptable_url(jwks_uri):
            raise FetchFailed("the discovery document has no jwks_uri with https")
        return jwks_uri
