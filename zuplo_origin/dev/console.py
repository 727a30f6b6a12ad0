"""The development console: its page, its requests, and what keeps both on this machine."""

import http.client
import json
import logging
import re
import secrets
import time
from collections.abc import Mapping
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
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwks.keys import ALGORITHMS
from zuplo_origin.jwt.inspection import inspect

from .issuer import BadKeyFile, Development

log = logging.getLogger("zuplo_origin")

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_BY_A_PROXY = ("HTTP_FORWARDED", "HTTP_ZP_RID")


class LoopbackOnlyMiddleware(Middleware):
    """Added by ``craft serve`` in development, where tokens come from a key that lies on the disk.

    A page of another site whose name was pointed at 127.0.0.1 sends that name as ``Host``; a proxy or a tunnel says
    that it forwards. Both are refused.
    """

    def before(self, request: Any, response: Any) -> Any:
        environ = request.environ
        _, port = request.app.make("development.listens")
        if environ.get("HTTP_HOST", "").lower() not in {f"{name}:{port}" for name in _LOOPBACK}:
            log.warning("refused: development answers to Host 127.0.0.1:%s or localhost:%s alone", port, port)
            raise HttpException(400)
        if any(key in _BY_A_PROXY or key.startswith("HTTP_X_FORWARDED") for key in environ):
            log.warning("refused: it came through a proxy; to serve a gateway, name its issuer in JWT_ISSUER")
            raise HttpException(400)
        return request

    def after(self, request: Any, response: Any) -> Any:
        return request


class SameOriginMiddleware(Middleware):
    """For routes that no other web site may use, though it is open in the same browser.

    A browser says where a request comes from: in ``Sec-Fetch-Site`` (Fetch Metadata), and in ``Origin`` (RFC 6454).
    """

    def before(self, request: Any, response: Any) -> Any:
        environ = request.environ
        site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
        if site not in (None, "same-origin", "none"):
            raise HttpException(403)
        if origin is not None and origin != f"http://{environ.get('HTTP_HOST')}":
            raise HttpException(403)
        if environ["REQUEST_METHOD"] == "POST" and not environ.get("CONTENT_TYPE", "").startswith("application/json"):
            raise HttpException(415)  # what a form of another site could send
        return request

    def after(self, request: Any, response: Any) -> Any:
        return request


POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data:; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
LONGEST_TOKEN = 16_384
LONGEST_LIFE = 31_536_000
TIMEOUT = 10


class ConsoleController(Controller):
    """Mints tokens of the development issuer, sends them to this server, and shows what became of them."""

    def page(self, request: Request, response: Response) -> Any:
        """Show the console."""
        nonce = secrets.token_urlsafe(16)
        page = Path(__file__).with_name("console.html").read_text(encoding="utf-8")
        response.header("Content-Security-Policy", POLICY.format(nonce=nonce))
        response.header("Referrer-Policy", "no-referrer")
        response.header("Content-Type", "text/html; charset=utf-8")
        return page.replace("{nonce}", nonce)

    def state(self, request: Request) -> Any:
        """Tell the issuer's keys and the routes."""
        make = request.app.make
        return {
            "keys": [key for key_set in make("jwks").values() for key in _keys(key_set)],
            "routes": [
                {
                    "method": each.method.upper(),
                    "path": each.path,
                    "guarded": each.scopes is not None,
                    "scopes": list(each.scopes or ()),
                    "summary": each.summary,
                }
                for each in make("openapi").operations()
            ],
            "algorithms": [name for name in ALGORITHMS if name in make("settings").issuers[0].algorithms],
            "audience": f"{_address(request)}/",
        }

    def token(self, request: Request) -> Any:
        """Mint a token with the claims, life and algorithm that are asked for."""
        asked = request.all()
        if asked.get("alg") not in tuple(ALGORITHMS):
            return {"problem": f"The algorithm is one of {', '.join(ALGORITHMS)}."}
        ttl, further = asked.get("ttl"), asked.get("claims") or {}
        if type(ttl) is not int or abs(ttl) > LONGEST_LIFE:
            return {"problem": "The life is a whole number of seconds, a year at most."}
        try:
            further = load_json(further.encode("utf-8")) if isinstance(further, str) else further
        except ValueError:
            further = None
        if not isinstance(further, dict) or has_nonfinite(further):
            return {"problem": "The further claims are a JSON object."}
        now = int(time.time())
        claims = {"iss": request.app.make("settings").issuers[0].name, "iat": now + min(ttl, 0), "exp": now + ttl}
        claims |= {name: asked[name] for name in ("sub", "aud", "scope") if asked.get(name)}
        try:
            keys = Development.keys(request.app.get_storage_path())
        except (BadKeyFile, OSError):
            return {"problem": "The development issuer's keys cannot be read: start the server anew."}
        return {"token": keys.sign({**claims, **further}, asked["alg"])}

    def send(self, request: Request) -> Any:
        """Send a token to a route of this server, and walk the verifier's rules over it."""
        asked = request.all()
        method, path, token = (str(asked.get(name) or "") for name in ("method", "path", "token"))
        if method not in METHODS or not re.fullmatch("/[!-z|~]*", path) or path.startswith("/console/"):
            return {"problem": "A route without parameters can be sent to: give the others to curl."}
        if not re.fullmatch("[!-~]*", token) or len(token) > LONGEST_TOKEN:
            return {"problem": f"A token is one word of ASCII, of {LONGEST_TOKEN} characters here at the most."}
        settings = request.app.make("settings")
        headers = {settings.header: f"{settings.scheme} {token}".strip()} if token else {}
        status, reason, told, body = _exchange(request.app.make("development.listens"), method, path, headers)
        sent = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        answer = [f"{status} {reason}", *(f"{name}: {value}" for name, value in told), "", _indented(body)]
        walk = _walk(request, token) if token else []
        return {"request": "\n".join(sent), "answer": "\n".join(answer), "status": status, "walk": walk}


def _keys(key_set: Any) -> list[dict[str, Any]]:
    held = key_set.cached()
    if held is None:
        return [{"issuer": key_set.issuer, "kid": "-", "algorithm": "-", "age": "-", "state": "none held"}]
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
        for key in held.key_set.keys
    ]
    refused = [
        {"issuer": key_set.issuer, "kid": each.kid or "-", "algorithm": each.alg or "-", "age": age, "state": each.why}
        for each in held.key_set.unusable
    ]
    return usable + refused


def _walk(request: Any, token: str) -> list[dict[str, Any]]:
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


def _address(request: Any) -> str:
    return f"http://{request.environ['HTTP_HOST']}"


def _exchange(
    listens: tuple[str, int], method: str, path: str, headers: Mapping[str, str]
) -> tuple[int, str, list[tuple[str, str]], bytes]:
    """Send a request to this server, which ``listens`` there, as any client would."""
    with closing(http.client.HTTPConnection(*listens, timeout=TIMEOUT)) as connection:
        try:
            connection.request(method, path, headers={"Accept": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, answer.reason, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException):
            raise HttpException(503) from None


def _indented(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except ValueError:
        return body.decode("utf-8", "replace")


ROUTES = [
    Route.get("/", ConsoleController.page),
    Route.get("/console/state", ConsoleController.state).middleware("console"),
    Route.post("/console/token", ConsoleController.token).middleware("console"),
    Route.post("/console/send", ConsoleController.send).middleware("console"),
]
