"""One exchange with an issuer: bounded in time and size, and never led elsewhere."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from .Deadline import Deadline, DeadlineAdapter

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
