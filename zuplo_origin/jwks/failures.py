"""The causes of failed fetches and of unusable keys, each with one message.

A message has the value that was found and what to change. The log, ``jwks:show`` and readiness use the same words. No
message contains credentials: a URL is shown without its user, password and query.
"""

import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from urllib3.exceptions import DecodeError

from .ca_bundle import ca_bundle

LONGEST = 120
"""Characters of a quoted value; longer ones are cut."""


class Cause(str, Enum):
    """A cause of a failed fetch, or of an unusable key."""

    UNKNOWN_HOST = "unknown_host"
    RESOLVE_TIMEOUT = "resolve_timeout"
    CLOSED_PORT = "closed_port"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    READ_TIMEOUT = "read_timeout"
    CONNECTION_CLOSED = "connection_closed"
    TLS_EXPIRED = "tls_expired"
    TLS_NOT_YET_VALID = "tls_not_yet_valid"
    TLS_WRONG_HOST = "tls_wrong_host"
    TLS_UNKNOWN_CA = "tls_unknown_ca"
    TLS_FAILED = "tls_failed"
    CA_BUNDLE = "ca_bundle"
    PROXY = "proxy"
    NOT_HTTP = "not_http"
    STATUS = "status"
    REDIRECT = "redirect"
    TOO_LARGE = "too_large"
    CONTENT_CODING = "content_coding"
    BYTE_ORDER_MARK = "byte_order_mark"
    NOT_JSON = "not_json"
    NO_KEYS = "no_keys"
    EMPTY = "empty"
    TOO_MANY_KEYS = "too_many_keys"
    NO_USABLE_KEY = "no_usable_key"
    DEVELOPMENT_KEY = "development_key"
    DISCOVERY_ISSUER = "discovery_issuer"
    DISCOVERY_JWKS_URI = "discovery_jwks_uri"
    LESS_PROTECTED = "less_protected"
    OTHER_PROCESS = "other_process"
    UNHANDLED = "unhandled"

    KEY_NOT_OBJECT = "key_not_object"
    KEY_DUPLICATE_MEMBER = "key_duplicate_member"
    KEY_MEMBER_TYPE = "key_member_type"
    KEY_MEMBER_MISSING = "key_member_missing"
    KEY_USE = "key_use"
    KEY_OPS = "key_ops"
    KEY_SYMMETRIC = "key_symmetric"
    KEY_PRIVATE = "key_private"
    KEY_TYPE = "key_type"
    KEY_CURVE = "key_curve"
    KEY_PADDING = "key_padding"
    KEY_ALPHABET = "key_alphabet"
    KEY_ENCODING = "key_encoding"
    KEY_LENGTH = "key_length"
    KEY_TOO_SHORT = "key_too_short"
    KEY_TOO_LONG = "key_too_long"
    KEY_MODULUS = "key_modulus"
    KEY_EXPONENT = "key_exponent"
    KEY_POINT = "key_point"
    KEY_ALGORITHM = "key_algorithm"
    KEY_NOT_ALLOWED = "key_not_allowed"


class Failure(Exception):
    """A ``cause``, and as text its message."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class FetchFailed(Failure):
    """A fetch without a usable response. ``retry_after`` is the server's wish in seconds (RFC 9110, 10.2.3)."""

    def __init__(self, cause: Cause, message: str, retry_after: float | None = None) -> None:
        super().__init__(cause, message)
        self.retry_after = retry_after


class BadKeySet(Failure):
    """A response that is not a key set, or that has no usable key."""


class UnusableKey(Failure):
    """A JWK that cannot verify tokens here.

    ``lacking`` are the algorithms that the key could be used with if the settings allowed them.
    """

    def __init__(self, cause: Cause, message: str, lacking: tuple[str, ...] = ()) -> None:
        super().__init__(cause, message)
        self.lacking = lacking


_UNPRINTABLE = re.compile("[^ -~]")


def quoted(value: object) -> str:
    """Return ``value``, text of a server, in single quotes, as printable ASCII of a limited length."""
    text = str(value)
    return f"'{_UNPRINTABLE.sub('?', text[:LONGEST])}{'...' if len(text) > LONGEST else ''}'"


def shown(url: str) -> str:
    """Return ``url`` without user, password, fragment and the content of its query, as printable ASCII."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return quoted(url)
    host = parts.netloc.rpartition("@")[2]
    text = f"{parts.scheme}://{host}{parts.path}{'?...' if parts.query else ''}"
    cut = _UNPRINTABLE.sub("?", text.replace("?...", "")) + ("?..." if parts.query else "")
    return cut if len(cut) <= 2 * LONGEST else cut[: 2 * LONGEST] + "..."


def at(url: str, text: str) -> str:
    """Return the message ``text`` about a document, which begins with its URL if that is known."""
    return f"{shown(url)}: {text}" if url else text


@dataclass(frozen=True)
class Proxy:
    """A proxy, without its credentials, and the variable that configures it."""

    url: str
    variable: str

    @classmethod
    def of(cls, url: str) -> "Proxy":
        """Return the proxy at ``url``, a value of the environment."""
        names = (name for name in ("https_proxy", "http_proxy", "all_proxy") for name in (name, name.upper()))
        variable = next((name for name in names if os.environ.get(name) and os.environ[name] in url), "the environment")
        return cls(shown(url if "://" in url else f"http://{url}"), variable)

    def __str__(self) -> str:
        return f"the proxy {self.url} ({self.variable})"


E = TypeVar("E", bound=BaseException)


def _all_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and the exceptions that it wraps: requests and urllib3 keep them in several places."""
    waiting, seen = [error], set()
    while waiting:
        one: Any = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        waiting += [each for each in inner if isinstance(each, BaseException)]


def _first(errors: list[BaseException], *kinds: type[E]) -> E | None:
    return next((error for error in errors if isinstance(error, kinds)), None)


def explained(error: BaseException, url: str, proxy: Proxy | None, seconds: float, is_late: bool) -> FetchFailed:
    """Return the failure that ``error``, an exception of requests or a socket, stands for.

    ``seconds`` is the limit of the whole fetch, ``is_late`` whether it has passed.
    """
    errors = list(_all_causes(error))
    known = _first(errors, FetchFailed)
    if known is not None:
        return known
    if is_late or _first(errors, TimeoutError):
        via = f" through {proxy}" if proxy else ""
        text = f"connected{via}, but received no complete response within {seconds:g} s (JWKS_TIMEOUT)"
        return FetchFailed(Cause.READ_TIMEOUT, at(url, text))
    tunnel = next((one for one in errors if "Tunnel connection failed" in str(one) and type(one) is OSError), None)
    if tunnel is not None:
        status = quoted(str(tunnel).partition("failed: ")[2])
        hint = "; put user and password into its URL" if "407" in status else "; it must allow this host"
        return FetchFailed(Cause.PROXY, at(url, f"{proxy or 'the proxy'} rejects the connection with {status}{hint}"))
    bundle = next((one for one in errors if isinstance(one, OSError) and "CA certificate bundle" in str(one)), None)
    if bundle is not None:
        return FetchFailed(Cause.CA_BUNDLE, at(url, f"{_ca_variable()} names a file that is missing or has no CA"))
    broken_tls = _first(errors, ssl.SSLError)
    if broken_tls is not None:
        return _tls_failure(broken_tls, url)
    wrong_host = next((one for one in errors if "doesn't match" in str(one)), None)
    if wrong_host is not None:
        return _wrong_host(url, str(wrong_host))
    if _first(errors, DecodeError):
        return FetchFailed(Cause.CONTENT_CODING, at(url, "its gzip content is broken"))
    malformed = _first(errors, HTTPException)
    if malformed is not None and not isinstance(malformed, (RemoteDisconnected, IncompleteRead)):
        return FetchFailed(Cause.NOT_HTTP, at(url, "the response is not HTTP; check host and port"))
    if _first(errors, OSError, IncompleteRead):
        whose = f"{proxy} or the server" if proxy else "the server"
        return FetchFailed(
            Cause.CONNECTION_CLOSED, at(url, f"{whose} closed the connection before a complete response")
        )
    return FetchFailed(Cause.NOT_HTTP, at(url, "the response is not valid HTTP; check host and port"))


_NOT_YET_VALID, _EXPIRED, _WRONG_NAMES = 9, 10, (62, 64)
"""Values of ``verify_code``: X509_V_ERR_* in OpenSSL's x509_vfy.h."""


def _tls_failure(error: ssl.SSLError, url: str) -> FetchFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _EXPIRED:
            return FetchFailed(Cause.TLS_EXPIRED, at(url, "the TLS certificate has expired; the server must renew it"))
        if error.verify_code == _NOT_YET_VALID:
            text = "the TLS certificate is not valid yet; check the clock of this machine"
            return FetchFailed(Cause.TLS_NOT_YET_VALID, at(url, text))
        if error.verify_code in _WRONG_NAMES:
            return _wrong_host(url, error.verify_message)
        why = f"the TLS certificate is not trusted ({error.verify_message}); add its CA to the file in {_ca_variable()}"
        return FetchFailed(Cause.TLS_UNKNOWN_CA, at(url, why))
    reason = getattr(error, "reason", None) or type(error).__name__
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"):
        text = "the server does not use TLS on this port; check scheme and port"
    elif "NO_CERTIFICATE_OR_CRL_FOUND" in str(error) or "NO_CERTIFICATE" in str(reason):
        return FetchFailed(Cause.CA_BUNDLE, at(url, f"{_ca_variable()} names a file that is missing or has no CA"))
    else:
        text = f"the TLS handshake failed ({reason})"
    return FetchFailed(Cause.TLS_FAILED, at(url, text))


def _wrong_host(url: str, detail: str) -> FetchFailed:
    text = f"the TLS certificate is for another host ({_UNPRINTABLE.sub('?', detail)[:LONGEST]})"
    return FetchFailed(Cause.TLS_WRONG_HOST, at(url, text))


def _ca_variable() -> str:
    """Return the variable that adds a CA: the one that is set, or else the usual one."""
    bundle = ca_bundle()
    return bundle[0] if bundle else "SSL_CERT_FILE"


_HINTS = {
    304: "the request was not conditional",
    401: "the key set must be readable without credentials",
    403: "the key set must be readable without credentials, from this machine",
    404: "check JWKS_URL; JWKS_URL=discovery reads the URL from the issuer's metadata",
    407: "the proxy asks for a user and password in its URL",
    429: "the issuer limits requests",
}


def status_failure(status: int, headers: Mapping[str, str], url: str) -> FetchFailed:
    """Return the failure of a response with another ``status`` than 200."""
    location = headers.get("Location")
    if status in (301, 302, 303, 307, 308) and location is not None:
        target = shown(urljoin(url, location))
        text = f"status {status} redirects to {target}; redirects are not followed: set JWKS_URL to the final URL"
        return FetchFailed(Cause.REDIRECT, at(url, text))
    hint = _HINTS.get(status) or ("the server of the issuer has a fault" if status >= 500 else "check JWKS_URL")
    wait = _retry_after(headers) if status in (429, 503) else None
    hint += f"; it asks to wait for {wait:.0f} s" if wait else ""
    return FetchFailed(Cause.STATUS, at(url, f"status {status}, not 200: {hint}"), wait)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``, a number or a date (RFC 9110, section 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
