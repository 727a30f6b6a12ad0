"""What an origin lets in and what it refuses, tried from outside, as a stranger would."""

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.encoding import base64url, strict_json
from app.encoding.printable import printable
from app.exceptions.answers import REFUSALS
from app.jwks.algorithms import ALGORITHMS
from app.jwks.fetch import is_loopback
from app.jwt.reasons import Reason

from .forgery import forged, unsigned
from .Origin import Answer, BadAddress, NoAnswer, Origin

TIMEOUT = 10.0
NO_TOKEN, INVALID, EXPIRED = (REFUSALS[reason].error for reason in (Reason.NO_TOKEN, Reason.MALFORMED, Reason.EXPIRED))


@dataclass(frozen=True)
class Finding:
    """What became of one check. ``passed`` is ``None`` where it could not be tried."""

    check: str
    passed: bool | None
    found: str


class OriginCheck:
    """Checks the origin at ``url``, whose guarded route is ``path``.

    ``token`` is one that it should let in, or one that has expired. ``sign`` makes tokens of the issuer that the origin
    believes, out of claims: where it is known, nothing is left out. ``header`` and ``scheme`` say where tokens stand.
    Raises ``BadAddress``.
    """

    def __init__(
        self,
        url: str,
        path: str = "/protected",
        token: str | None = None,
        sign: Callable[[Mapping[str, Any]], str] | None = None,
        header: str = "Authorization",
        scheme: str = "Bearer",
    ) -> None:
        self._origin = Origin(url, header, scheme, TIMEOUT)
        self._path, self._token, self._sign = path, token, sign
        if not re.fullmatch("/[!-~]*", path):
            raise BadAddress("--path begins with a slash, as in /protected")
        if not re.fullmatch("[!-~]*", token or ""):
            raise BadAddress("--token is one word of ASCII")

    def run(self) -> Iterator[Finding]:
        """Yield the findings, in their order; the first check that gets no whole answer in time is the last."""
        try:
            yield self._tls()
            yield self._refuses("no token", None, NO_TOKEN)
            yield self._refuses("garbage", "garbage", INVALID)
            claims, header = self._known()
            yield self._refuses("alg: none", unsigned(claims), INVALID)
            stranger = forged(claims, header["alg"], header["kid"])
            yield self._refuses("a stranger's key", stranger, INVALID, f", kid {printable(header['kid'])}")
            yield self._expired(claims)
            yield self._valid(claims)
            yield from self._hidden()
        except NoAnswer as error:
            yield Finding("an answer", False, f"none: {error}")

    def _tls(self) -> Finding:
        if is_loopback(self._origin.url):
            return Finding("TLS", True, "not needed on loopback")
        scheme = urlsplit(self._origin.url).scheme
        return Finding("TLS", scheme == "https", scheme)

    def _known(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return claims that would be let in, as far as that is known, and the header of their token."""
        now = int(time.time())
        usual = {"iss": "https://stranger.example", "sub": "stranger", "iat": now}
        claims: dict[str, Any] = {**usual, "aud": self._origin.url + self._path}
        header: dict[str, Any] = {"alg": "EdDSA", "kid": "stranger"}
        genuine = self._sign({**usual, "exp": now + 300}) if self._sign else self._token
        try:
            parts = [strict_json.loads(base64url.decode(part)) for part in (genuine or "").split(".")[:2]]
            header, claims = {**header, **parts[0]}, {**claims, **parts[1]}
        except (ValueError, TypeError, IndexError):
            pass  # no token, or one that nobody can read: then a stranger's claims have to do
        if not isinstance(header["kid"], str) or header["alg"] not in tuple(ALGORITHMS):
            header = {"alg": "EdDSA", "kid": "stranger"}
        return {**claims, "exp": now + 300}, header

    def _expired(self, claims: Mapping[str, Any]) -> Finding:
        past = int(time.time()) - 86_400
        if self._sign:
            return self._refuses("an expired token", self._sign({**claims, "iat": past - 300, "exp": past}), EXPIRED)
        if self._token and _expiry(self._token) < time.time():
            return self._refuses("an expired token", self._token, EXPIRED)
        return Finding("an expired token", None, "not tried: only its issuer could make one")

    def _valid(self, claims: Mapping[str, Any]) -> Finding:
        token = self._sign(claims) if self._sign else self._token
        if token is None or (not self._sign and _expiry(token) < time.time()):
            named = "one" if token is None else "an expired one"
            return Finding("a valid token", None, f"not tried: --token names {named}")
        answer = self._origin.get(self._path, token)
        problems = [] if answer.status == 200 else [f"status {answer.status}, {_error(answer)}: jwt:inspect says why"]
        return _finding("a valid token", problems + self._stored(answer), "let in")

    def _refuses(self, check: str, token: str | None, error: str, more: str = "") -> Finding:
        answer = self._origin.get(self._path, token)
        problems = []
        if answer.status != 401:
            problems.append(f"status {answer.status} instead of 401")
        if _error(answer) != error:
            problems.append(f"says {_error(answer)} instead of {error}")
        if not answer.headers.get("WWW-Authenticate"):
            problems.append("no WWW-Authenticate")
        if token and "." in token and token.encode() in answer.body:
            problems.append("repeats the token")
        return _finding(check, problems + self._stored(answer), f"401, {error}{more}")

    @staticmethod
    def _stored(answer: Answer) -> list[str]:
        directives = [word.strip().lower() for word in answer.headers.get("Cache-Control", "").split(",")]
        return [] if "no-store" in directives else ["no Cache-Control: no-store"]

    def _hidden(self) -> Iterator[Finding]:
        missing = self._origin.get(f"/{secrets.token_hex(8)}", None)
        html = "html" in missing.headers.get("Content-Type", "") or b"<html" in missing.body.lower()
        problems = [] if missing.status == 404 else [f"status {missing.status} for a path that is not there"]
        problems += ["HTML"] if html else []
        problems += ["a traceback"] if b"Traceback" in missing.body else []
        yield _finding("no debug page", problems, "404, and no page")
        root = self._origin.get("/", None)
        page = root.status == 200 and "html" in root.headers.get("Content-Type", "")
        yield _finding("no console", ["a page at /"] if page else [], f"status {root.status} at /")
        metrics = self._origin.get("/metrics", None)
        yield _finding("no metrics", ["/metrics is open"] if metrics.status == 200 else [], f"status {metrics.status}")


def _finding(check: str, problems: list[str], fine: str) -> Finding:
    return Finding(check, not problems, "; ".join(problems) or fine)


def _error(answer: Answer) -> str:
    body = answer.json()
    error = body.get("error") if isinstance(body, dict) else None
    return ascii(error)[1:-1][:64] if isinstance(error, str) else "nothing"


def _expiry(token: str) -> float:
    try:
        return float(strict_json.loads(base64url.decode(token.split(".")[1]))["exp"])
    except (ValueError, TypeError, KeyError, IndexError):
        return float("inf")
