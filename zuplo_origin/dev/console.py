"""The development console: its page, its requests, and the middleware that restricts both to loopback."""

import hmac
import http.client
import json
import logging
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from masonite.controllers import Controller
from masonite.middleware import Middleware
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route

from zuplo_origin.encoding import has_nonfinite, load_json
from zuplo_origin.http.errors import HttpException
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwt.inspection import inspect

from .issuer import BadKeyFile, Development

log = logging.getLogger("zuplo_origin")

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_PROXY_HEADERS = frozenset(
    f"HTTP_{name}" for name in ("FORWARDED", "VIA", "X_REAL_IP", "CF_CONNECTING_IP", "TRUE_CLIENT_IP", "ZP_RID")
)


def is_proxied(environ: Mapping[str, Any]) -> bool:
    """Return whether a proxy or a tunnel has forwarded the request: it adds a header."""
    return any(key in _PROXY_HEADERS or key.startswith("HTTP_X_FORWARDED") for key in environ)


class LoopbackOnlyMiddleware(Middleware):
    """Reject requests for another host, and forwarded requests.

    A development server trusts a key that is on the disk. DNS rebinding reaches it under the name of another site,
    which is then in ``Host``; proxies and tunnels add a header.
    """

    def before(self, request: Any, response: Any) -> Any:
        environ = request.environ
        _, port = request.app.make("development.listens")
        if environ.get("HTTP_HOST", "").lower() not in {f"{name}:{port}" for name in LOOPBACK_NAMES}:
            log.warning("rejected: Host is not 127.0.0.1:%s or localhost:%s", port, port)
            raise HttpException(400)
        if is_proxied(environ):
            log.warning("rejected: forwarded by a proxy; set JWT_ISSUER to serve a gateway")
            raise HttpException(400)
        return request

    def after(self, request: Any, response: Any) -> Any:
        return request


class ConsoleMiddleware(Middleware):
    """Reject requests without the console's secret, and those that a browser sends for the page of another site.

    Other users of this machine reach its loopback addresses too: the secret is in the URL that ``craft serve`` prints,
    in its fragment, which browsers do not send, and the page sends it in a header. Cookies are sent to all ports of a
    host. Browsers name the site of a page in ``Sec-Fetch-Site`` (Fetch Metadata) and in ``Origin`` (RFC 6454).
    """

    def before(self, request: Any, response: Any) -> Any:
        environ = request.environ
        site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
        if site not in (None, "same-origin", "none"):
            raise HttpException(403)
        if origin is not None and origin != f"http://{environ.get('HTTP_HOST')}":
            raise HttpException(403)
        if not hmac.compare_digest(environ.get(SECRET_HEADER, "").encode(), request.app.make(SECRET).encode()):
            raise HttpException(403, "Open the URL of the console that craft serve has printed")
        if environ["REQUEST_METHOD"] == "POST" and not environ.get("CONTENT_TYPE", "").startswith("application/json"):
            raise HttpException(415)  # an HTML form cannot send application/json
        return request

    def after(self, request: Any, response: Any) -> Any:
        return request


SECRET = "development.console_secret"  # noqa: S105  # the key in the container, not the secret
SECRET_HEADER = "HTTP_X_CONSOLE_SECRET"  # noqa: S105  # the key in the environ
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data:; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
MAX_TOKEN = 16_384
"""Characters."""
MAX_LIFETIME = 31_536_000
"""Seconds."""
TIMEOUT = 10
"""Seconds for a request to the server."""


class ConsoleController(Controller):
    """The console's page, and the requests that it sends with ``fetch``."""

    def page(self, request: Request, response: Response) -> Any:
        """Return the page, with a new nonce for its script and style."""
        nonce = secrets.token_urlsafe(16)
        page = Path(__file__).with_name("console.html").read_text(encoding="utf-8")
        response.header("Content-Security-Policy", POLICY.format(nonce=nonce))
        response.header("Referrer-Policy", "no-referrer")
        response.header("Content-Type", "text/html; charset=utf-8")
        return page.replace("{nonce}", nonce)

    def state(self, request: Request) -> Any:
        """Return the cached keys of the issuer, and the routes."""
        make = request.app.make
        return {
            "keys": [key for key_set in make("jwks").values() for key in _keys(key_set)],
            "routes": [
                {
                    "method": operation.method.upper(),
                    "path": operation.path,
                    "guarded": operation.scopes is not None,
                    "scopes": list(operation.scopes or ()),
                    "summary": operation.summary,
                }
                for operation in make("openapi").operations()
            ],
            "algorithms": [name for name in ALGORITHMS if name in make("settings").issuers[0].algorithms],
            "audience": f"http://{request.environ['HTTP_HOST']}/",
        }

    def token(self, request: Request) -> Any:
        """Return a token with the given claims, lifetime in seconds, and algorithm."""
        fields = request.all()
        if fields.get("alg") not in tuple(ALGORITHMS):
            return {"problem": f"Algorithm: expected one of {', '.join(ALGORITHMS)}."}
        ttl, more = fields.get("ttl"), fields.get("claims") or {}
        if type(ttl) is not int or abs(ttl) > MAX_LIFETIME:
            return {"problem": "Lifetime: expected a whole number of seconds, one year at most."}
        try:
            more = load_json(more.encode("utf-8")) if isinstance(more, str) else more
        except ValueError:
            more = None
        if not isinstance(more, dict) or has_nonfinite(more):
            return {"problem": "More claims: expected a JSON object."}
        now = int(time.time())
        claims = {"iss": request.app.make("settings").issuers[0].name, "iat": now + min(ttl, 0), "exp": now + ttl}
        claims |= {name: fields[name] for name in ("sub", "aud", "scope") if fields.get(name)}
        try:
            keys = Development.keys(request.app.get_storage_path())
        except (BadKeyFile, OSError):
            return {"problem": "The keys of the development issuer cannot be read. Restart the server."}
        return {"token": keys.sign({**claims, **more}, fields["alg"])}

    def send(self, request: Request) -> Any:
        """Send a token to a route of this server, and return request, response, and the result of each rule."""
        fields = request.all()
        method, path, token = (str(fields.get(name) or "") for name in ("method", "path", "token"))
        if method not in METHODS or not re.fullmatch("/[!-z|~]*", path) or path.startswith("/console/"):
            return {"problem": "Only routes without parameters can be called here. Use curl for the others."}
        if not re.fullmatch("[!-~]*", token) or len(token) > MAX_TOKEN:
            return {"problem": f"Token: expected printable ASCII without spaces, {MAX_TOKEN} characters at most."}
        settings = request.app.make("settings")
        headers = {settings.header: f"{settings.scheme} {token}".strip()} if token else {}
        address = request.app.make("development.listens")
        status, reason, response_headers, body = _exchange(address, method, path, headers)
        return {
            "request": "\n".join([f"{method} {path} HTTP/1.1", *_lines(headers.items())]),
            "response": "\n".join([f"{status} {reason}", *_lines(response_headers), "", _indented(body)]),
            "status": status,
            "rules": _rules(request, token) if token else [],
        }


def _keys(key_set: Any) -> list[dict[str, Any]]:
    cached = key_set.cached()
    if cached is None:
        return [{"issuer": key_set.issuer, "kid": "-", "algorithm": "-", "age": "-", "state": "none cached"}]
    age = f"{key_set.age():.0f} s"
    state = "fresh" if key_set.is_fresh() else "stale"
    usable = [
        {
            "issuer": key_set.issuer,
            "kid": key.kid or "-",
            "algorithm": key.alg or ", ".join(sorted(key.verifiers)),
            "age": age,
            "state": state,
        }
        for key in cached.key_set.keys
    ]
    unusable = [
        {"issuer": key_set.issuer, "kid": key.kid or "-", "algorithm": key.alg or "-", "age": age, "state": key.why}
        for key in cached.key_set.unusable
    ]
    return usable + unusable


def _rules(request: Any, token: str) -> list[dict[str, Any]]:
    candidate = request.app.make("guard").verifier.candidate(token)
    return [
        {
            "rule": finding.rule,
            "passed": finding.passed,
            "reason": finding.reason.value if finding.reason else "",
            "found": finding.found,
            "expected": finding.expected,
        }
        for finding in inspect(candidate, KeysUnavailable)
    ]


def _exchange(
    address: tuple[str, int], method: str, path: str, headers: Mapping[str, str]
) -> tuple[int, str, list[tuple[str, str]], bytes]:
    """Send a request over HTTP to ``address``, and return status, reason phrase, headers and body."""
    with closing(http.client.HTTPConnection(*address, timeout=TIMEOUT)) as connection:
        try:
            connection.request(method, path, headers={"Accept": "application/json", **headers})
            response = connection.getresponse()
            return response.status, response.reason, response.getheaders(), response.read()
        except (OSError, http.client.HTTPException):
            raise HttpException(503) from None


def _lines(headers: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers]


def _indented(body: bytes) -> str:
    """Return JSON with indentation, and any other text unchanged."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except ValueError:
        return body.decode("utf-8", "replace")


ROUTES = [
    Route.get("/", ConsoleController.page).middleware("public"),
    Route.get("/console/state", ConsoleController.state).middleware("console", "public"),
    Route.post("/console/token", ConsoleController.token).middleware("console", "public"),
    Route.post("/console/send", ConsoleController.send).middleware("console", "public"),
]
