"""The development console: what ``craft serve`` shows at ``/`` in development, and nothing else does."""

import http.client
import json
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response

from app.encoding import strict_json
from app.exceptions.HttpException import HttpException
from app.issuer.Development import Development
from app.issuer.IssuerKeys import BadKeyFile
from app.jwks.algorithms import ALGORITHMS
from app.jwks.KeysUnavailable import KeysUnavailable
from app.jwt.inspection import inspect

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
        page = Path(request.app.base_path, "templates", "console.html").read_text(encoding="utf-8")
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
            further = strict_json.loads(further.encode("utf-8")) if isinstance(further, str) else further
        except ValueError:
            further = None
        if not isinstance(further, dict) or strict_json.has_nonfinite(further):
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
    held = key_set.held()
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
