"""The request: its ids, headers, cookies, query string and body, each read on first use and within limits."""

import logging
import os
import random
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qs

from masonite.cookies import CookieJar
from masonite.cookies.Cookie import Cookie
from masonite.headers import Header, HeaderBag
from masonite.input import InputBag
from masonite.request import Request as MasoniteRequest
from masonite.utils.time import cookie_expire_time
from werkzeug.http import parse_etags

from zuplo_origin.encoding import member_at

from .content import DEFAULT_LIMIT, Content, Upload, at_path, nested
from .errors import HttpException

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request."""
TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The id of the trace that the current request belongs to (W3C Trace Context)."""
REQUEST_ID_HEADER = "zp-rid"
"""The header with the gateway's request id."""
TRACE_HEADERS = {"HTTP_TRACEPARENT": "traceparent", "HTTP_TRACESTATE": "tracestate"}
"""WSGI keys to header names (W3C Trace Context, sections 3.2 and 3.3)."""

_MISSING: Any = object()
RAW_PATH = "zuplo_origin.raw_path"
"""The environ key of the path as it was sent, if it has encoded characters."""

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
    "encrypt": True,  # by the middleware EncryptCookies, if it is registered
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


MAX_QUERY_FIELDS = 100
"""Fields of a query string, beyond which a request is rejected with 400."""


class Input(InputBag):
    """The query string and the body of a request as one mapping; members of the body take precedence.

    A field that occurs once is a string, one that occurs several times a list of strings. The body is read when a
    field is, not with the query string.

    Raises ``HttpException`` as ``Content`` does, and 400 for more than 100 query fields.
    """

    def __init__(self, environ: Mapping[str, Any], content: Content) -> None:
        super().__init__()
        self.environ, self._content = environ, content
        try:
            query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            raise HttpException(400, reason=f"the query string has more than {MAX_QUERY_FIELDS} fields") from None
        self.query_string = nested(query)

    def all(self) -> dict[str, Any]:
        """Return all fields by name."""
        return {**self.query_string, **self._content.fields(), **self.post_data}

    def get(self, name: str, default: Any = None, clean: bool = True, quote: bool = True) -> Any:
        """Return the field ``name``, or what is at the dotted path ``name``, or ``default``; ``items.*.sku`` is a list.

        A single uploaded file is returned by itself, as in Masonite.
        """
        values = self.all()
        found = values[name] if name in values else at_path(values, name, default)
        if isinstance(found, list) and len(found) == 1 and isinstance(found[0], Upload):
            return found[0]
        return found


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
        self._content: Content | None = None

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
            self._input_bag = Input(self.environ, self.content)
        return self._input_bag

    @property
    def content(self) -> Content:
        """The body, not read before one of its methods is called."""
        if self._content is None:
            self._content = Content(self.environ, self.body_limit, self._setting("upload_folder"))
        return self._content

    @property
    def body_limit(self) -> int:
        """Bytes that the body may have: the route's limit, or the one of the settings."""
        limit = getattr(self.route, "body_limit", None)
        if limit is None:
            limit = self._setting("max_body")
        return DEFAULT_LIMIT if limit is None else limit

    def _setting(self, name: str) -> Any:
        return getattr(self.app.make("settings"), name) if self.app and self.app.has("settings") else None

    def body(self) -> bytes:
        """Return the body as it was sent, of any type."""
        return self.content.raw()

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        """Return the body in chunks of ``size`` bytes, for one that is larger than the memory that it may take."""
        return self.content.chunks(size)

    def json(self) -> Any:
        """Return the value of a JSON body: an object, a list, or any other."""
        return self.content.json()

    def query(self, name: str, default: Any = None) -> Any:
        """Return the field ``name`` of the query string. The body is not read."""
        return at_path(self.input_bag.query_string, name, default)

    def claim(self, path: str, default: Any = None) -> Any:
        """Return a verified claim by its name, or by a dotted path (``realm_access.roles``); otherwise ``default``."""
        claims: dict[str, Any] = self._user if isinstance(self._user, dict) else {}
        found = member_at(claims, path, _MISSING)
        return at_path(claims, path, default) if found is _MISSING else found

    def check_match(self, etag: str) -> None:
        """Raise ``HttpException`` 412 unless ``If-Match`` names ``etag``, 428 without it (RFC 9110 13.1.1, RFC 6585 3).

        Call it in the transaction that changes the row, after the row was locked.
        """
        sent = self.header("If-Match")
        if sent is None:
            raise HttpException(428, "If-Match is missing: send the ETag of the version that you change")
        if not parse_etags(sent).contains(etag.strip('"')):
            raise HttpException(412, "it was changed in the meantime", {"ETag": etag})

    def is_current(self, etag: str) -> bool:
        """Return whether the client has ``etag`` already (``If-None-Match``): respond with 304 (RFC 9110 13.1.2)."""
        sent = self.header("If-None-Match")
        return sent is not None and parse_etags(sent).contains_weak(etag.strip('"'))

    def ip(self) -> str | None:
        """Return the caller's address: the last value of the header ``CLIENT_IP_HEADER``, or the peer's address."""
        header = self._setting("client_ip_header")
        if header is not None:
            values = (self.environ.get(environ_key(header)) or "").split(",")
            return values[-1].strip() or None
        return self.environ.get("REMOTE_ADDR")

    def close(self) -> None:
        """Remove the files of the body. Called when the response has been sent."""
        if self._content is not None:
            self._content.close()

    def header(self, name: str, value: str | None = None) -> str | None:
        """Return the header ``name``, ``None`` if it was not sent. With ``value``, set it for this request instead."""
        if value is None:
            added = self._header_bag.bag.get(name.lower()) if self._header_bag is not None else None
            return self.environ.get(environ_key(name)) if added is None else added.value
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
            raise HttpException(400, reason="the path is not UTF-8") from None

    def has_encoded_slash(self) -> bool:
        """Return whether the path as it was sent contains ``%2F``, which is not a slash, and is one in ``PATH_INFO``.

        ``RAW_URI`` is the request target in gunicorn and werkzeug.
        """
        raw: str = self.environ.get(RAW_PATH) or self.environ.get("RAW_URI") or ""
        return "%" in raw and "%2f" in raw.partition("?")[0].lower()

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
