"""The request: its ids, headers, cookies, query string and body, each read on first use and within limits."""

import logging
import os
import random
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qs

from masonite.cookies import CookieJar
from masonite.cookies.Cookie import Cookie
from masonite.headers import Header, HeaderBag
from masonite.input import InputBag
from masonite.request import Request as MasoniteRequest
from masonite.utils.time import cookie_expire_time

from zuplo_origin.encoding import has_nonfinite, load_json

from .errors import HttpException

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request."""
TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The id of the trace that the current request belongs to (W3C Trace Context)."""
REQUEST_ID_HEADER = "zp-rid"
"""The header with the gateway's request id."""
TRACE_HEADERS = {"HTTP_TRACEPARENT": "traceparent", "HTTP_TRACESTATE": "tracestate"}
"""WSGI keys to header names (W3C Trace Context, sections 3.2 and 3.3)."""

_GATEWAY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_RANDOM = random.Random()  # noqa: S311  # request ids are not secret, and os.urandom is a system call for each
os.register_at_fork(after_in_child=_RANDOM.seed)


def request_id(environ: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the id of a request, and whether it was generated here.

    The gateway's id is used if it has 1 to 64 characters out of letters, digits, ``.``, ``_`` and ``-``.
    """
    sent = environ.get("HTTP_ZP_RID")
    if sent is not None and _GATEWAY_ID.fullmatch(sent):
        return sent, False
    return f"{_RANDOM.getrandbits(128):032x}", True


def trace_id(environ: Mapping[str, Any]) -> str | None:
    """Return the trace id in the ``traceparent`` header; ``None`` without a valid one."""
    sent = environ.get("HTTP_TRACEPARENT")
    found = _TRACEPARENT.fullmatch(sent) if sent is not None else None
    return found[1] if found else None


class RequestLogRecord(logging.LogRecord):
    """A log record with ``rid`` and ``trace_id``, the ids of the current request; ``None`` outside of requests."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.rid, self.trace_id = REQUEST_ID.get(), TRACE_ID.get()


def environ_key(name: str) -> str:
    """Return the WSGI key of the request header ``name`` (RFC 3875, section 4.1.18).

    Names that differ in ``-`` and ``_`` only, or in case, have the same key.
    """
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


class Headers(HeaderBag):
    """Masonite's bag of headers, with case-insensitive names (RFC 9110, section 5.1).

    Masonite changes names: ``X-Request-Id`` to ``X-Request``, ``ETag`` to ``E-Tag``, ``HTTP-Authorization`` to
    ``Authorization``.
    """

    def convert_name(self, name: str) -> str:
        return name.lower()

    def load(self, environ: dict[str, Any]) -> None:
        for key, value in environ.items():
            if key.startswith("HTTP_"):
                name = "-".join(part.capitalize() for part in key[5:].split("_"))
                self.add(Header(name, value))

    def render(self) -> list[tuple[str, str]]:
        return [(header.name, header.value) for header in self.bag.values()]

    def to_dict(self, server_names: bool = False) -> dict[str, str]:
        return {environ_key(header.name) if server_names else header.name: header.value for header in self.bag.values()}


MAX_COOKIES = 50
"""Cookies of a request, beyond which it is rejected with 400."""

_COOKIE_OPTIONS: dict[str, Any] = {
    "http_only": True,
    "secure": True,
    "expires": None,
    "timezone": None,
    "samesite": "Strict",
    "path": "/",
    "encrypt": False,
}


class Cookies(CookieJar):
    """Masonite's cookie jar (RFC 6265), with fixed defaults.

    Masonite reads seven options of each cookie from ``config/session.py``: a third of a second for a thousand cookies.
    """

    def load(self, cookie_string: str) -> "Cookies":
        """Parse a ``Cookie`` header. Raises ``HttpException`` 400 for more than 50 cookies."""
        if cookie_string.count(";") >= MAX_COOKIES:
            raise HttpException(400)
        super().load(cookie_string)
        return self

    def load_cookie(self, key: str, value: str) -> None:
        self.loaded_cookies[key] = Cookie(key, value, **_COOKIE_OPTIONS)

    def add(self, name: str, value: str, **options: Any) -> None:
        """Set a cookie. The defaults of ``options`` are ``HttpOnly``, ``Secure`` and ``SameSite=Strict``."""
        super().add(name, value, **{**_COOKIE_OPTIONS, **options})

    def delete(self, name: str) -> None:
        options = {**_COOKIE_OPTIONS, "expires": cookie_expire_time("expired"), "timezone": "GMT"}
        self.deleted_cookies[name] = Cookie(name, "", **options)
        self.cookies.pop(name, None)
        self.loaded_cookies.pop(name, None)


MAX_BODY = 1_048_576
"""Bytes of a request body, beyond which the request is rejected with 413."""


def read_body(environ: Mapping[str, Any]) -> bytes:
    """Return the whole body of a request (PEP 3333: ``wsgi.input``).

    The production server receives the body before it calls the application. Other WSGI servers may block here.

    Raises ``HttpException``: 413 if the body is larger than 1 MiB; 400 if its length is not a number, if it ends early,
    or if the server fails to read it; 408 if the server stops waiting for it.
    """
    stated = environ.get("CONTENT_LENGTH") or ""
    if stated:
        if not (stated.isascii() and stated.isdigit()):
            raise HttpException(400)
        if len(stated) > 10 or int(stated) > MAX_BODY:
            raise HttpException(413)
        body = _read(environ["wsgi.input"], int(stated))
        if len(body) != int(stated):
            raise HttpException(400)
        return body
    if not environ.get("wsgi.input_terminated"):
        return b""  # PEP 3333: without a length, reading could block forever
    body = _read(environ["wsgi.input"], MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise HttpException(413)
    return body


def _read(stream: Any, size: int) -> bytes:
    try:
        return stream.read(size)  # type: ignore[no-any-return]
    except TimeoutError:
        raise HttpException(408) from None
    except Exception:  # servers raise various errors if a client disconnects or sends invalid chunks
        raise HttpException(400) from None


MAX_QUERY_FIELDS = 100
"""Fields of a query string, beyond which a request is rejected with 400."""


class Input(InputBag):
    """The query string and the JSON body of a request as one mapping; members of the body take precedence.

    A query field that occurs once is a string, one that occurs several times a list of strings. The body is a JSON
    object in UTF-8 (RFC 8259) of 1 MiB at most.

    Raises ``HttpException``: 400 for a body that is not such an object, or more than 100 query fields; 413 for a larger
    body; 415 for another content type.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__()
        self.environ = environ
        try:
            query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            raise HttpException(400) from None
        self.query_string = {name: values[0] if len(values) == 1 else values for name, values in query.items()}
        self.post_data = _json_object(environ)

    def get(self, name: str, default: Any = None, clean: bool = True, quote: bool = True) -> Any:
        """Return the value of ``name``, or of the dotted path ``name`` into nested objects, or ``default``."""
        values = self.all()
        if name in values:
            return values[name]
        found: Any = values
        for part in name.split("."):
            if not isinstance(found, dict) or part not in found:
                return default
            found = found[part]
        return found


def _json_object(environ: Mapping[str, Any]) -> dict[str, Any]:
    body = read_body(environ)
    if not body:
        return {}
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise HttpException(415)
    try:
        value = load_json(body)
    except ValueError:
        raise HttpException(400) from None
    if not isinstance(value, dict) or has_nonfinite(value):
        raise HttpException(400)
    return value


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Request(MasoniteRequest):
    """Masonite's request. Headers, cookies, query and body are parsed on first use, so never before the guard has run.

    ``user()`` returns the verified claims as a ``dict`` on a guarded route, and ``None`` on others. ``id`` is the
    gateway's request id, or one generated here (``has_own_id``). The guard sets ``verified`` to the claims of the
    token, or to the exception with which it was rejected, and ``rejected`` to the exception if it rejects the request.
    ``streamed`` is, at the end of a streamed response, its size in bytes and whether it was complete.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        # Masonite's own __init__ parses the whole request: it is not called
        self.environ = environ
        self.app: Any = None
        self.params: dict[str, Any] = {}
        self.route = None
        self.id, self.has_own_id = request_id(environ)
        self.rejected: Any = None
        self.verified: Any = None
        self.streamed: tuple[int, bool] | None = None
        self._ip = None
        self._user = None
        self._subdomains_activated = False
        self._header_bag: Headers | None = None
        self._cookie_jar: Cookies | None = None
        self._input_bag: Input | None = None

    # not functools.cached_property: before Python 3.12, one lock serves all requests while it computes a value

    @property
    def header_bag(self) -> Headers:
        if self._header_bag is None:
            self._header_bag = Headers()
            self._header_bag.load(self.environ)
        return self._header_bag

    @property
    def cookie_jar(self) -> Cookies:
        if self._cookie_jar is None:
            self._cookie_jar = Cookies().load(self.environ.get("HTTP_COOKIE", ""))
        return self._cookie_jar

    @property
    def input_bag(self) -> Input:
        if self._input_bag is None:
            self._input_bag = Input(self.environ)
        return self._input_bag

    def header(self, name: str, value: str | None = None) -> str | None:
        """Return the header ``name``, ``None`` if it was not sent. With ``value``, set it for this request instead."""
        if value is None:
            return self.environ.get(environ_key(name))
        self.environ[environ_key(name)] = value
        self._header_bag = None
        return None

    def trace_headers(self) -> dict[str, str]:
        """Return the trace headers to send with an outgoing request (W3C Trace Context); empty without a trace."""
        if trace_id(self.environ) is None:
            return {}
        return {name: self.environ[key] for key, name in TRACE_HEADERS.items() if key in self.environ}

    def get_path(self) -> str:
        """Return the path without the query string. Raises ``HttpException`` 400 if it is not UTF-8 (PEP 3333)."""
        path: str = self.environ.get("PATH_INFO") or "/"
        if path.isascii():
            return path
        try:
            return path.encode("latin-1").decode("utf-8")
        except UnicodeError:
            raise HttpException(400) from None

    def get_request_method(self) -> str:
        """Return the method as sent. In Masonite, the field ``__method`` overrides it."""
        return self.environ["REQUEST_METHOD"]  # type: ignore[no-any-return]

    @property
    def method_label(self) -> str:
        """The method in logs and metrics: ``other`` if no route can have it, so that clients cannot make labels up."""
        method: str = self.environ["REQUEST_METHOD"]
        return method if method in _METHODS else "other"

    @property
    def route_label(self) -> str:
        """The route in logs and metrics, as it was registered (``/orders/@id``); ``-`` if none matched."""
        return "-" if self.route is None else str(self.route.url)
