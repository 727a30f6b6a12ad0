"""One HTTP exchange with an issuer, bounded in time and size."""

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


class Deadline:
    """``seconds`` from now, after which every connection that was opened under it is shut.

    A socket's timeout starts anew with each byte: a server that sends one in a while holds its client for ever. So the
    connections are shut from outside, which ends whatever waits for them. A context manager: its end stops the watch.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._watch = threading.Timer(seconds, self._shut)
        self._watch.daemon = True
        self._guard = threading.Lock()  # guards the two below
        self._sockets: list[socket.socket] = []
        self._over = False

    def __enter__(self) -> "Deadline":
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watch.cancel()
        with self._guard:
            for held in self._sockets:
                held.close()
            self._sockets.clear()

    def left(self) -> float:
        """Seconds until the end; ``TimeoutError`` where it has passed."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def over(self) -> bool:
        """Whether the end has passed."""
        return time.monotonic() >= self._end

    def hold(self, connected: socket.socket) -> None:
        """Shut ``connected`` when the time is over."""
        # a duplicate: TLS takes the socket itself over, and the shutdown reaches the connection through either
        duplicate = socket.socket(fileno=os.dup(connected.fileno()))
        with self._guard:
            self._sockets.append(duplicate)
            if self._over:
                _shut_down(duplicate)

    def _shut(self) -> None:
        with self._guard:
            self._over = True
            for held in self._sockets:
                _shut_down(held)


def _shut_down(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster


class DeadlineAdapter(HTTPAdapter):
    """A transport of ``requests`` whose connections end with a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _held(super()._new_conn(), deadline)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _held(super()._new_conn(), deadline)

        self._classes = {"http": Plain, "https": Secure}
        super().__init__()

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        pool.ConnectionCls = self._classes[pool.scheme]
        return pool


def _held(connected: socket.socket, deadline: Deadline) -> socket.socket:
    deadline.hold(connected)
    return connected


_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})", re.IGNORECASE)

_TOO_SLOW = "no whole answer before the deadline"


class FetchFailed(Exception):
    """No usable answer. Its text says why, in words of our own: nothing that the server sent."""


class Deferred(Exception):
    """The issuer was not asked: unknown key ids have caused as many fetches of a fleet as they may."""


class ConnectionBroken(FetchFailed):
    """The connection could not be made, or broke: worth one more try."""


@dataclass(frozen=True)
class Document:
    """A server's answer: ``body`` is ``None`` where it said that nothing has changed (RFC 9110, section 15.4.5).

    ``max_age`` is in seconds (RFC 9111, section 5.2.2.1); ``age`` is how many seconds ago it came, to another process.
    """

    body: bytes | None
    etag: str | None = None
    max_age: int | None = None
    age: float = 0.0


def is_loopback(url: str) -> bool:
    """Whether the host of ``url`` is this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fetch(url: str, deadline: Deadline, max_bytes: int, etag: str | None = None) -> Document:
    """Return what ``url`` answers, within ``deadline`` and ``max_bytes`` as they come out of decompression.

    ``etag`` is the one of the document held, if any. A connection that breaks is tried once more. Raises
    ``FetchFailed`` for anything but a whole 200, or a 304 where an ``etag`` was given.
    """
    try:
        return _attempt(url, deadline, max_bytes, etag)
    except ConnectionBroken:
        return _attempt(url, deadline, max_bytes, etag)


def _attempt(url: str, deadline: Deadline, max_bytes: int, etag: str | None) -> Document:
    try:
        return _exchange(url, deadline, max_bytes, etag)
    except requests.exceptions.SSLError as error:
        raise FetchFailed("TLS failed: the certificate is not trusted, or the server speaks no TLS") from error
    except (TimeoutError, requests.Timeout, ReadTimeoutError) as error:
        raise FetchFailed(_TOO_SLOW) from error
    except (requests.ConnectionError, ProtocolError) as error:
        if deadline.over():
            raise FetchFailed(_TOO_SLOW) from error
        raise ConnectionBroken("the connection failed") from error
    except (requests.RequestException, HTTPError, ValueError) as error:
        raise FetchFailed("the exchange failed") from error


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
        if is_loopback(url):
            environment["proxies"] = {}
        with session.send(request, timeout=deadline.left(), allow_redirects=False, **environment) as response:
            if response.status_code == 304 and etag is not None:
                return Document(None, etag, _max_age(response))
            if response.status_code != 200:
                raise FetchFailed(f"the answer has status {response.status_code}, not 200")
            body = _read(response, deadline, max_bytes)
            return Document(body, response.headers.get("ETag"), _max_age(response))


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stands where ``requests`` would otherwise look into ``.netrc``."""
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
            raise FetchFailed(f"the answer is larger than {max_bytes} bytes")


def _max_age(response: requests.Response) -> int | None:
    match = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
    return int(match.group(1)) if match else None


DISCOVERY = "discovery"
"""In place of a URL: ask the issuer where its keys are."""


def is_acceptable_url(url: str) -> bool:
    """Whether keys may be fetched from ``url``: https with a host, or http on loopback; no credentials, no fragment."""
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
    """Fetches the key set of ``issuer`` from ``url``, or from where the issuer says (OpenID Connect Discovery 1.0, 4).

    ``timeout`` is in seconds, for everything together; ``max_bytes`` holds for each document.
    """

    issuer: str
    url: str
    timeout: float
    max_bytes: int

    def fetch(self, etag: str | None = None, answers: object = None) -> Document:
        """Return the issuer's answer; ``FetchFailed`` where there is no usable one.

        What the answer is wanted for, ``answers``, makes no difference here.
        """
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
            raise FetchFailed("the discovery document is another issuer's")
        jwks_uri = metadata.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not is_acceptable_url(jwks_uri):
            raise FetchFailed("the discovery document names no https jwks_uri")
        return jwks_uri
