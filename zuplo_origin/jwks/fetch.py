"""One HTTP exchange with an issuer, limited in time and size, and the URL of its key set."""

import http.client
import ipaddress
import os
import re
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection

from .ca_bundle import VARIABLES as CA_VARIABLES
from .failures import Cause, FetchFailed, Proxy, at, explained, quoted, shown, status_failure
from .keys import KeySet, WantedKey, load_document

ATTEMPT_DELAY = 0.25
"""Seconds after which the next address of a host is tried beside the earlier ones (RFC 8305, section 5)."""
MOST_ADDRESSES = 16
"""Addresses of one host that are tried."""
ACCEPT = "application/jwk-set+json, application/json, */*;q=0.1"
"""Kubernetes responds with 406 to ``application/json`` alone, others publish key sets as ``text/html``."""
CODINGS = ("", "identity", "gzip", "x-gzip")
"""Content codings that the request allows."""


class Deadline:
    """A time limit, ``seconds`` from now, at which all registered connections are shut down. A context manager.

    A socket's timeout starts again with each byte, so a server that sends a byte now and then can keep its client
    waiting forever. A timer shuts the connections down instead, which ends every read and write on them.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
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


class Places:
    """The kinds of network that a fetch may connect to: an issuer's metadata must not lead into a protected one.

    ``reached`` are the kinds of the addresses that were connected to without a proxy. ``allowed`` are kinds; ``None``
    allows all.
    """

    def __init__(self) -> None:
        self.reached: set[str] = set()
        self.allowed: set[str] | None = None

    def restrict(self) -> None:
        """Allow public addresses from here on, and those of the kinds that were reached."""
        self.allowed = {"public", *self.reached}


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that a gateway translates to the IPv4 address in their last 32 bits (RFC 6052)."""


def kind_of(address: str) -> str:
    """Return ``loopback``, ``link-local``, ``private`` or ``public`` for an IP ``address``."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else inner or ip
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    return "public" if ip.is_global else "private"


def literal_kind(url: str) -> str | None:
    """Return the kind of the host of ``url`` if it is an IP address; ``None`` for a name."""
    try:
        return kind_of(urlsplit(url).hostname or "")
    except ValueError:
        return None


LESS_PROTECTED = "its host has a {} address, and the issuer has none; set JWKS_URL to this URL to allow it"


def connect(host: str, port: int, deadline: Deadline, places: Places, url: str, proxy: Proxy | None) -> socket.socket:
    """Return a connection to ``host``, to the first of its addresses that accepts one (RFC 8305).

    A later address is tried beside the earlier ones, whose packets may be dropped. Raises ``FetchFailed``.
    """
    target = str(proxy) if proxy else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = quoted(getattr(error, "strerror", None) or error)
        cause, name = (Cause.PROXY, f"the host of {target}") if proxy else (Cause.UNKNOWN_HOST, f"the host {host}")
        raise FetchFailed(cause, at(url, f"cannot resolve {name} ({why}); check the URL and DNS")) from None
    addresses: list[tuple[int, Any]] = [(family, address) for family, _, _, _, address in found]
    if places.allowed is not None and proxy is None:
        kinds = {kind_of(address[0]) for _, address in addresses} - places.allowed
        if kinds:
            raise FetchFailed(Cause.LESS_PROTECTED, at(url, LESS_PROTECTED.format(min(kinds))))
    try:
        connected = _Race(addresses, deadline).run()
    except TimeoutError:
        listed = ", ".join(address[0] for _, address in addresses[:4])
        text = f"no connection to {target} within {deadline.seconds:g} s (JWKS_TIMEOUT): tried {listed}"
        raise FetchFailed(Cause.PROXY if proxy else Cause.CONNECT_TIMEOUT, at(url, text)) from None
    except OSError as error:
        is_closed = isinstance(error, ConnectionRefusedError)
        why = "rejects connections: the port is closed" if is_closed else f"cannot be reached ({error.strerror})"
        cause = Cause.PROXY if proxy else Cause.CLOSED_PORT if is_closed else Cause.UNREACHABLE
        raise FetchFailed(cause, at(url, f"{target} {why}; check host and port")) from None
    if proxy is None:
        places.reached.add(kind_of(str(connected.getpeername()[0])))
    deadline.watch(connected)
    return connected


class _Race:
    """Connection attempts to several addresses, of which the first that succeeds wins."""

    def __init__(self, addresses: list[tuple[int, Any]], deadline: Deadline) -> None:
        families: dict[int, list[tuple[int, Any]]] = {}
        for each in addresses:
            families.setdefault(each[0], []).append(each)
        mixed = [each for group in zip_longest(*families.values()) for each in group if each is not None]
        self._waiting = deque(mixed[:MOST_ADDRESSES])  # the families in turn: RFC 8305, section 4
        self._deadline = deadline
        self._delay = min(ATTEMPT_DELAY, deadline.left() / (len(self._waiting) + 1))
        self._error: OSError = OSError("no address")

    def run(self) -> socket.socket:
        """Return the connection. Raises the last attempt's ``OSError``, or ``TimeoutError`` at the deadline."""
        with selectors.DefaultSelector() as attempts:
            try:
                while self._waiting or attempts.get_map():
                    if self._waiting:
                        self._begin(attempts)
                    next_at = time.monotonic() + self._delay
                    while attempts.get_map() and (not self._waiting or time.monotonic() < next_at):
                        left = self._deadline.left()
                        pause = min(left, max(0.0, next_at - time.monotonic())) if self._waiting else left
                        winner = self._ended(attempts, pause)
                        if winner is not None:
                            return winner
                raise self._error
            finally:
                for key in list(attempts.get_map().values()):
                    attempts.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]

    def _begin(self, attempts: selectors.BaseSelector) -> None:
        family, address = self._waiting.popleft()
        try:
            attempt = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # a machine without this family
            self._error = error
            return
        attempt.setblocking(False)
        try:
            attempt.connect(address)
        except BlockingIOError:
            pass
        except OSError as error:  # not routed
            self._error = error
            attempt.close()
            return
        attempts.register(attempt, selectors.EVENT_WRITE)

    def _ended(self, attempts: selectors.BaseSelector, seconds: float) -> socket.socket | None:
        """Wait for the end of an attempt, for ``seconds`` at most, and return its connection if it succeeded."""
        for key, _ in attempts.select(seconds):
            attempt: Any = key.fileobj
            attempts.unregister(attempt)
            code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                attempt.settimeout(self._deadline.left())
                attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return attempt  # type: ignore[no-any-return]
            self._error = OSError(code, os.strerror(code))
            attempt.close()
        return None


class _Response(http.client.HTTPResponse):
    """A response without the 1xx ones before it (RFC 9110, section 15.2): http.client skips 100 alone."""

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200 and self.status != 101:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


class DeadlineAdapter(HTTPAdapter):
    """A transport of ``requests`` whose connections are shut down at a deadline."""

    def __init__(self, deadline: Deadline, places: Places | None = None, url: str = "") -> None:
        known = places or Places()

        def new_connection(connection: HTTPConnection) -> socket.socket:
            proxy = Proxy.of(connection.proxy.url) if connection.proxy else None
            return connect(connection._dns_host, connection.port or 80, deadline, known, url, proxy)

        class Plain(HTTPConnection):
            response_class = _Response
            _new_conn = new_connection

        class Secure(HTTPSConnection):
            response_class = _Response
            _new_conn = new_connection

        self._classes = {"http": Plain, "https": Secure}
        super().__init__()

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        pool.ConnectionCls = self._classes[pool.scheme]
        return pool


_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})", re.IGNORECASE)


class Deferred(Exception):
    """A fetch that was not made: unknown keys have caused as many fetches of all processes together as they may.

    ``seconds`` is the time until the next one is allowed.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("deferred")
        self.seconds = max(0.001, seconds)


@dataclass(frozen=True)
class Document:
    """A server's response: the ``body`` of ``url``.

    ``max_age`` is in seconds (RFC 9111, section 5.2.2.1), less the age in caches before this one. For a response that
    another process fetched, ``age`` is how many seconds ago. ``key_set`` is the parsed body, if it was parsed already.
    ``deferred_for`` is described at ``Deferred``: it is not 0 if this document is not the newest that may be wanted.
    """

    body: bytes
    url: str = ""
    max_age: int | None = None
    age: float = 0.0
    key_set: KeySet | None = None
    deferred_for: float = 0.0


def is_loopback(url: str) -> bool:
    """Return whether the host of ``url`` is this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fetch(url: str, deadline: Deadline, max_bytes: int, places: Places | None = None) -> Document:
    """Return the document at ``url``, if it arrives by the ``deadline`` and has at most ``max_bytes`` decompressed.

    A connection that breaks is tried once more. Raises ``FetchFailed`` for anything but a complete 200.
    """
    places = places or Places()
    try:
        return _exchange(url, deadline, max_bytes, places)
    except FetchFailed as failed:
        if failed.cause is not Cause.CONNECTION_CLOSED or deadline.over():
            raise
    return _exchange(url, deadline, max_bytes, places)


def _exchange(url: str, deadline: Deadline, max_bytes: int, places: Places) -> Document:
    proxy: Proxy | None = None
    try:
        with requests.Session() as session:
            for prefix in ("http://", "https://"):
                session.mount(prefix, DeadlineAdapter(deadline, places, url))
            session.auth = _no_credentials
            headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip", "User-Agent": "zuplo-origin"}
            request = session.prepare_request(requests.Request("GET", url, headers=headers))
            environment = session.merge_environment_settings(url, {}, True, None, None)
            environment["verify"] = next((os.environ[name] for name in CA_VARIABLES if os.environ.get(name)), True)
            if is_loopback(url):
                environment["proxies"] = {}
            selected = select_proxy(url, environment["proxies"])
            proxy = Proxy.of(selected) if selected else None
            with session.send(request, timeout=deadline.left(), allow_redirects=False, **environment) as response:
                if response.status_code != 200:
                    raise status_failure(response.status_code, response.headers, url)
                body = _read(response, deadline, max_bytes, url)
                return Document(body, url, _max_age(response.headers))
    except Exception as error:
        raise explained(error, url, proxy, deadline.seconds, deadline.over()) from error


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep ``requests`` from reading credentials from ``.netrc``."""
    return request


def _read(response: requests.Response, deadline: Deadline, max_bytes: int, url: str) -> bytes:
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in CODINGS:
        text = f"it has the content coding {quoted(coding)}, which the request does not allow; expected none, or gzip"
        raise FetchFailed(Cause.CONTENT_CODING, at(url, text))
    announced = response.headers.get("Content-Length", "")
    body = bytearray()
    while not re.fullmatch("[0-9]{1,18}", announced) or int(announced) <= max_bytes:
        deadline.left()
        chunk = response.raw.read1(max_bytes + 1 - len(body), decode_content=True)
        if not chunk:
            return bytes(body)
        body += chunk
        if len(body) > max_bytes:
            announced = f"more than {max_bytes}"
            break
    raise FetchFailed(Cause.TOO_LARGE, at(url, f"it has {announced} bytes; JWKS_MAX_BYTES allows {max_bytes}"))


def _max_age(headers: Mapping[str, str]) -> int | None:
    match = _MAX_AGE.search(headers.get("Cache-Control", ""))
    age = headers.get("Age", "").strip()
    spent = int(age) if re.fullmatch("[0-9]{1,9}", age) else 0
    return max(0, int(match.group(1)) - spent) if match else None


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

    def fetch(self, wanted: WantedKey | None = None) -> Document:
        """Return the issuer's response. Raises ``Failure``. ``wanted`` makes no difference here."""
        with Deadline(self.timeout) as deadline:
            if self.url != DISCOVERY:
                return fetch(self.url, deadline, self.max_bytes)
            places = Places()
            url = self._discovered(deadline, places)
            places.restrict()
            kind = literal_kind(url)  # a proxy would connect to it
            if kind is not None and kind not in {*(places.allowed or ()), literal_kind(self.issuer)}:
                raise FetchFailed(Cause.LESS_PROTECTED, at(url, LESS_PROTECTED.format(kind)))
            return fetch(url, deadline, self.max_bytes, places)

    def _discovered(self, deadline: Deadline, places: Places) -> str:
        """Return the ``jwks_uri`` of the issuer's metadata. It leads to no less protected place than the metadata."""
        url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        metadata = load_document(fetch(url, deadline, self.max_bytes, places).body, url)
        found = metadata.get("issuer") if isinstance(metadata, dict) else None
        if found != self.issuer:
            seen = f"its issuer is {quoted(found)}" if isinstance(found, str) else "it has no issuer"
            text = f"{seen}, and JWT_ISSUER is {quoted(self.issuer)}; they must be equal"
            raise FetchFailed(Cause.DISCOVERY_ISSUER, at(url, text))
        uri = metadata.get("jwks_uri")
        why = _why_not_followed(uri, url)
        if why is not None:
            raise FetchFailed(Cause.DISCOVERY_JWKS_URI, at(url, f"{why}; set JWKS_URL to the URL of the key set"))
        return str(uri)


def _why_not_followed(uri: Any, url: str) -> str | None:
    """Return why the ``jwks_uri`` in the metadata at ``url`` is not acceptable; ``None`` if it is."""
    if not isinstance(uri, str) or not uri:
        return "its jwks_uri is missing" if uri is None or uri == "" else "its jwks_uri is not a string"
    if "://" not in uri:
        return f"its jwks_uri {quoted(uri)} is relative, not a whole URL"
    if not uri.isascii():
        return f"its jwks_uri {quoted(shown(uri))} has characters beyond ASCII; a host name needs punycode"
    if not is_acceptable_url(uri):
        return f"its jwks_uri {quoted(shown(uri))} is not an https URL without user and fragment"
    if url.startswith("https:") and not uri.startswith("https:"):
        return f"its jwks_uri {quoted(shown(uri))} is http, and the issuer is https"
    return None
