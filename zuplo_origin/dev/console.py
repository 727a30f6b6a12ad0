"""The development console: its page, its requests, and the middleware that restricts both to loopback."""

import base64
import contextlib
import difflib
import hmac
import http.client
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from jose.exceptions import JOSEError
from masonite.controllers import Controller
from masonite.middleware import Middleware
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route

from zuplo_origin.encoding import has_nonfinite, load_json
from zuplo_origin.http.errors import HttpException
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwt.inspection import inspect, inspect_scopes
from zuplo_origin.settings import SETTINGS, raw_value

from .history import HISTORY, MASK, mask
from .issuer import BadKeyFile, Development, IssuerKeys
from .zuplo import Gateway, export, read, slug

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
MAX_BODY = "64MB"
"""The request to send a request, with its body in base64."""
CHUNK = 65_536
FRAMING = ("host", "content-length", "transfer-encoding", "te", "connection", "upgrade", "expect", "trailer")
"""Headers that the connection sets."""
PAGE = Path(__file__).with_name("console_page")
SCRIPTS = [
    f"{name}.js" for name in ["json", "patterns", "examples", "snippets", "token", "request", "response", "console"]
]
"""The parts of the page's one script."""
ROUTES_FILE = "config/routes.oas.json"
TIMEOUT = 10
"""Seconds for a request to the server."""


class ConsoleController(Controller):
    """The console's page, and the requests that it sends with ``fetch``."""

    def page(self, request: Request, response: Response) -> Any:
        """Return the page, with a new nonce for its script and style."""
        request.is_console_page = True  # History leaves it out
        nonce = secrets.token_urlsafe(16)
        page, style, *scripts = (
            (PAGE / name).read_text(encoding="utf-8") for name in ("index.html", "console.css", *SCRIPTS)
        )
        response.header("Content-Security-Policy", POLICY.format(nonce=nonce))
        response.header("Referrer-Policy", "no-referrer")
        response.header("Content-Type", "text/html; charset=utf-8")
        return page.replace("{nonce}", nonce).replace("{style}", style).replace("{script}", "\n".join(scripts))

    def state(self, request: Request) -> Any:
        """Return the routes, the keys of each issuer, and what the page needs to make tokens."""
        make = request.app.make
        settings = make("settings")
        return {
            "keys": [key for key_set in make("jwks").values() for key in _keys(key_set)],
            "issuers": [_issuer(key_set) for key_set in make("jwks").values()],
            "document": make("openapi").document(),
            "public": [f"{each.method} {each.path}" for each in make("openapi").operations() if each.is_public],
            "algorithms": [name for name in ALGORITHMS if name in settings.issuers[0].algorithms],
            "audience": f"http://{request.environ['HTTP_HOST']}/",
            "header": settings.header,
            "scheme": settings.scheme,
            "scopeClaims": list(settings.scope_claims),
        }

    def history(self, request: Request) -> Any:
        """Return the last requests, the last one first."""
        return {"entries": request.app.make(HISTORY).entries()}

    def settings(self, request: Request) -> Any:
        """Return name, value and origin of each setting. Values of secrets are masked."""
        return {"settings": [_setting(request.app.make("config"), name) for name in SETTINGS]}

    def gateway(self, request: Request) -> Any:
        """Return what ``craft zuplo:export`` would change in a gateway project beside this one."""
        base, make = Path(request.app.base_path), request.app.make
        folder = next((found for found in _beside(base) if (found / ROUTES_FILE).is_file()), None)
        if folder is None:
            return {"folder": None}
        name, version, settings = (
            make("config").get("application.name"),
            make("config").get("application.version"),
            make("settings"),
        )
        # the development issuer's audience is not the gateway's
        gateway = Gateway(name, version, slug(name), settings.header, settings.scheme)
        shown = f"../{folder.name}" if folder.parent == base.parent else folder.name
        try:
            made = export(make("openapi").operations(), gateway, folder, False, False)
            files = [
                {"path": path, "difference": "\n".join(_difference(read(folder, path) or "", text, path))}
                for path, text in sorted(made.files.items())
            ]
        except (OSError, ValueError) as error:
            return {"problem": f"The gateway project {shown} cannot be read: {error}"}
        return {
            "folder": shown,
            "files": files,
            "left_out": [list(each) for each in made.left_out],
            "warnings": list(made.warnings),
        }

    def token(self, request: Request) -> Any:
        """Return a token with the given claims, lifetime in seconds, and algorithm."""
        fields = request.all()
        if fields.get("alg") not in tuple(ALGORITHMS):
            return {"problem": f"Algorithm: expected one of {', '.join(ALGORITHMS)}."}
        ttl, more = fields.get("ttl"), fields.get("claims") or {}
        if type(ttl) is not int or abs(ttl) > MAX_LIFETIME:
            return {"problem": "Lifetime: expected a whole number of seconds, one year at most."}
        more = _object(more)
        if more is None:
            return {"problem": "More claims: expected a JSON object."}
        now = int(time.time())
        claims = {"iss": request.app.make("settings").issuers[0].name, "iat": now + min(ttl, 0), "exp": now + ttl}
        claims |= {name: fields[name] for name in ("sub", "aud", "scope") if fields.get(name)}
        return _signed(request, {**claims, **more}, {}, fields["alg"])

    def sign(self, request: Request) -> Any:
        """Return a token with exactly the given header and claims, by the development issuer's key or another one."""
        fields = request.all()
        header, claims = _object(fields.get("header")), _object(fields.get("claims"))
        if header is None or claims is None:
            return {"problem": f"{'Header' if header is None else 'Claims'}: expected a JSON object."}
        if header.get("alg") not in tuple(ALGORITHMS):
            return {"problem": f"Header: alg has to be one of {', '.join(ALGORITHMS)} to be signed."}
        return _signed(request, claims, header, header["alg"], fields.get("other_key") is True)

    def verify(self, request: Request) -> Any:
        """Return the result of each rule for a token, and of the scopes of a route."""
        fields = request.all()
        token, scopes = str(fields.get("token") or ""), fields.get("scopes") or []
        if not isinstance(scopes, list) or not all(isinstance(each, str) for each in scopes):
            return {"problem": "Scopes: expected a list of strings."}
        return {"rules": _rules(request, token, scopes) if token and len(token) <= MAX_TOKEN else []}

    def send(self, request: Request, response: Response) -> Any:
        """Send a request to this server, and stream its response: a line of JSON with status and headers, the body."""
        fields = request.all()
        method, path, token, body = (str(fields.get(name) or "") for name in ("method", "path", "token", "body"))
        if method not in METHODS or not re.fullmatch("/[!-z|~]*", path) or path.startswith("/console"):
            return {"problem": "Path: expected / and printable ASCII, with every parameter filled in."}
        if not re.fullmatch("[!-~]*", token) or len(token) > MAX_TOKEN:
            return {"problem": f"Token: expected printable ASCII without spaces, {MAX_TOKEN} characters at most."}
        given = fields.get("headers") or {}
        if not isinstance(given, dict) or not all(map(_is_header, given.items())):
            return {"problem": "Headers: expected names and values of printable ASCII; not Host, Content-Length or TE."}
        settings = request.app.make("settings")
        headers = {"Accept": "application/json"} | {name.title(): value for name, value in given.items()}
        if token:
            headers[settings.header] = f"{settings.scheme} {token}".strip()
        content = body.encode("utf-8", "replace") if body else None
        if fields.get("body_base64"):
            try:
                content = base64.b64decode(str(fields["body_base64"]), validate=True)
            except ValueError:
                return {"problem": "Body: expected base64."}
        return response.stream(
            _exchange(request.app.make("development.listens"), method, path, headers, content),
            content_type="application/octet-stream",
        )


def _object(value: Any) -> dict[str, Any] | None:
    """Return the object that ``value`` is, as such or as JSON text; ``None`` if it is none."""
    try:
        found = load_json(value.encode("utf-8")) if isinstance(value, str) else value
    except ValueError:
        return None
    return found if isinstance(found, dict) and not has_nonfinite(found) else None


def _signed(
    request: Any, claims: Mapping[str, Any], header: Mapping[str, Any], algorithm: str, other_key: bool = False
) -> dict[str, str]:
    try:
        keys = Development.keys(request.app.get_storage_path())
        other = IssuerKeys.generated() if other_key else keys
        return {"token": other.sign(claims, algorithm, {"kid": keys.kid(algorithm), **header} if other_key else header)}
    except (BadKeyFile, OSError):
        return {"problem": "The keys of the development issuer cannot be read. Restart the server."}
    except (JOSEError, TypeError, ValueError) as error:
        return {"problem": f"The token cannot be signed: {error}"}


def _is_header(given: tuple[Any, Any]) -> bool:
    name, value = given
    if not (isinstance(value, str) and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)):
        return False
    return name.lower() not in FRAMING and re.fullmatch("[ -~]*", value) is not None


def _setting(config: Any, name: str) -> dict[str, Any]:
    """Return where a setting comes from, and its value if it is no secret."""
    setting, value = SETTINGS[name], raw_value(config, name)
    from_config, from_environment = config.get(setting.path), os.environ.get(name)
    origin = "default"
    if from_config not in (None, ""):
        module, _, variable = setting.path.partition(".")
        origin = f"config/{module}.py, {variable.upper()}"
    elif from_environment:
        origin = "craft serve" if name in ("JWT_ISSUER", "JWT_AUDIENCE") else "environment or .env"
    text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    shown = (MASK if text else "") if setting.secret else mask(text)
    return {"name": name, "value": shown, "origin": origin, "secret": setting.secret}


def _beside(base: Path) -> list[Path]:
    """Return the folders in which a gateway project may be: those in this project, and those beside it."""
    found: list[Path] = []
    for parent in (base, base.parent):
        with contextlib.suppress(OSError):
            named = [parent / name for name in ("gateway", f"{base.name}-gateway")]
            found += [each for each in named if each.is_dir() and each != base]
    return found


def _difference(before: str, after: str, path: str) -> list[str]:
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, lineterm=""))


def _issuer(key_set: Any) -> dict[str, Any]:
    age, failure = key_set.age(), key_set.failure()
    return {
        "issuer": key_set.issuer,
        "age": None if age is None else round(age),
        "next": round(max(0.0, key_set.next_refresh_in())),
        "failure": str(failure) if failure is not None else "",
        "cause": failure.cause.value if failure is not None else "",
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


def _rules(request: Any, token: str, scopes: list[str]) -> list[dict[str, Any]]:
    candidate = request.app.make("guard").verifier.candidate(token)
    findings = list(inspect(candidate, KeysUnavailable))
    if scopes:
        claims = candidate.token.claims if hasattr(candidate, "token") else None
        findings.append(inspect_scopes(claims, scopes, request.app.make("settings").scope_claims))
    return [
        {
            "rule": finding.rule,
            "passed": finding.passed,
            "reason": finding.reason.value if finding.reason else "",
            "found": finding.found,
            "expected": finding.expected,
            "advice": finding.advice,
        }
        for finding in findings
    ]


def _exchange(
    address: tuple[str, int], method: str, path: str, headers: Mapping[str, str], content: bytes | None
) -> Iterator[bytes]:
    """Send a request to ``address``, and yield a line with its status and headers, then its body as it comes."""
    began = time.perf_counter()
    with closing(http.client.HTTPConnection(*address, timeout=TIMEOUT)) as connection:
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            head = {
                "status": response.status,
                "reason": response.reason,
                "headers": response.getheaders(),
                "ms": round((time.perf_counter() - began) * 1000, 1),
            }
            yield json.dumps(head).encode() + b"\n"
            while chunk := response.read1(CHUNK):
                yield chunk
        except (OSError, http.client.HTTPException):
            raise HttpException(503) from None


ROUTES = [
    *(Route.get(path, ConsoleController.page).middleware("public") for path in ("/", "/console")),
    *(
        Route.get(f"/console/{name}", getattr(ConsoleController, name)).middleware("console", "public")
        for name in ("state", "history", "settings", "gateway")
    ),
    *(
        Route.post(f"/console/{name}", getattr(ConsoleController, name)).middleware("console", "public")
        for name in ("token", "sign", "verify")
    ),
    Route.post("/console/send", ConsoleController.send).middleware("console", "public", f"body:{MAX_BODY}"),
]
