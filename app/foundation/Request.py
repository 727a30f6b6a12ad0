"""A request that reads nothing of a client's before somebody asks."""

from typing import Any

from masonite.request import Request as MasoniteRequest

from app.exceptions.HttpException import HttpException
from app.jwt.reasons import Refused
from app.log.request_context import TRACE_HEADERS, request_id, trace_id

from .Cookies import Cookies
from .Headers import Headers, environ_key
from .Input import Input


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
        self.refused: Refused | None = None
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
