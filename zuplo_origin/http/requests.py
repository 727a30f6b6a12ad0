"""The request: headers, cookies, query string and body, read on first use and within limits."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from masonite.cookies import CookieJar
from masonite.cookies.Cookie import Cookie
from masonite.headers import Header, HeaderBag
from masonite.input import InputBag
from masonite.request import Request as MasoniteRequest
from masonite.utils.time import cookie_expire_time

from zuplo_origin.encoding import has_nonfinite, load_json

from .context import TRACE_HEADERS, request_id, trace_id
from .errors import HttpException


def environ_key(name: str) -> str:
    """Return the WSGI key of the request header ``name`` (RFC 3875, section 4.1.18).

    WSGI folds ``-`` and ``_`` into one: beyond that, two names never share a key.
    """
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


class Headers(HeaderBag):
    """A bag of headers, each under its own name, whatever its case (RFC 9110, section 5.1).

    Masonite's own makes ``X-Request`` of ``X-Request-Id``, ``E-Tag`` of ``ETag`` and ``Authorization`` of
    ``HTTP-Authorization``.
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

_DEFAULTS: dict[str, Any] = {
    "http_only": True,
    "secure": True,
    "expires": None,
    "timezone": None,
    "samesite": "Strict",
    "path": "/",
    "encrypt": False,
}


class Cookies(CookieJar):
    """Masonite's jar of cookies (RFC 6265).

    Masonite asks ``config/session.py``, which there is none of here, for seven options of each cookie: that is what
    makes a thousand of them cost a third of a second.
    """

    def load(self, cookie_string: str) -> "Cookies":
        """Read a ``Cookie`` header; ``HttpException`` 400 where it holds more than 50."""
        if cookie_string.count(";") >= MAX_COOKIES:
            raise HttpException(400)
        super().load(cookie_string)
        return self

    def load_cookie(self, key: str, value: str) -> None:
        self.loaded_cookies[key] = Cookie(key, value, **_DEFAULTS)

    def add(self, name: str, value: str, **options: Any) -> None:
        """Set a cookie: ``HttpOnly``, ``Secure`` and ``SameSite=Strict`` unless ``options`` say otherwise."""
        super().add(name, value, **{**_DEFAULTS, **options})

    def delete(self, name: str) -> None:
        options = {**_DEFAULTS, "expires": cookie_expire_time("expired"), "timezone": "GMT"}
        self.deleted_cookies[name] = Cookie(name, "", **options)
        self.cookies.pop(name, None)
        self.loaded_cookies.pop(name, None)


MAX_BODY = 1_048_576
"""Bytes of a request's body, after which it is answered with 413."""


def read_body(environ: Mapping[str, Any]) -> bytes:
    """Return the whole body of a request (PEP 3333: ``wsgi.input``).

    The production server has received it before the application runs. Another WSGI server waits for it in a thread.

    Raises ``HttpException``: 413 where the body is larger than 1 MiB; 400 where its length is no number, where fewer
    bytes arrive than it states, and where the server cannot read it; 408 where it stops waiting.
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
        return b""  # without a length, such a server gives no end to read to
    body = _read(environ["wsgi.input"], MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise HttpException(413)
    return body


def _read(stream: Any, size: int) -> bytes:
    try:
        return stream.read(size)  # type: ignore[no-any-return]
    except TimeoutError:
        raise HttpException(408) from None
    except Exception:  # each server has errors of its own for a client that hangs up, or breaks its chunks
        raise HttpException(400) from None


MAX_QUERY_FIELDS = 100


class Input(InputBag):
    """What a client sent, as one mapping: the members of its JSON body over the fields of its query string.

    A field that occurs once is a string, one that occurs several times a list of strings. A body is a JSON object in
    UTF-8 (RFC 8259), at most 1 MiB.

    Raises ``HttpException``: 400 for a body that is not such an object, or more than 100 fields; 413 for a larger
    body; 415 for one of another type.
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
        """Return the value of ``name``, or of the path ``a.b.c`` into nested objects, or ``default``."""
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


class Request(MasoniteRequest):
    """Masonite's request. Headers, cookies, query and body are parsed on first use: never before a guard has run.

    ``user()`` gives the verified claims on a guarded route, as a ``dict``, and ``None`` elsewhere. ``id`` is the
    gateway's id of the request, or one that was made here (``has_own_id``). ``refused`` says why it was not let in,
    ``verified`` holds the claims of its token, or the exception with which it was rejected.
    ``streamed`` holds, at the end of a streamed response, its bytes and whether it was complete.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        # not Masonite's own, which parses everything at once
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

    # plain properties: until Python 3.12, functools.cached_property holds one lock for all requests while it computes

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
        """Return the header ``name``, ``None`` where it was not sent; or set it to ``value`` for this request."""
        if value is None:
            return self.environ.get(environ_key(name))
        self.environ[environ_key(name)] = value
        self._header_bag = None
        return None

    def trace_headers(self) -> dict[str, str]:
        """Return the headers for a request of one's own that belongs to this one (W3C Trace Context); none, perhaps."""
        if trace_id(self.environ) is None:
            return {}
        return {name: self.environ[key] for key, name in TRACE_HEADERS.items() if key in self.environ}

    def get_path(self) -> str:
        """Return the path, without the query string; ``HttpException`` 400 where it is not UTF-8 (PEP 3333)."""
        path: str = self.environ.get("PATH_INFO") or "/"
        if path.isascii():
            return path
        try:
            return path.encode("latin-1").decode("utf-8")
        except UnicodeError:
            raise HttpException(400) from None

    def get_request_method(self) -> str:
        """Return the method as it was sent: no field of the query or the body overrides it."""
        return self.environ["REQUEST_METHOD"]  # type: ignore[no-any-return]
