"""The smoke test of ``craft origin:check``: requests that an origin must accept or reject."""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwt
from jose.backends import ECKey, RSAKey
from nacl.signing import SigningKey
from urllib3.exceptions import HTTPError

from zuplo_origin.encoding import decode_base64url, encode_base64url, load_json, printable
from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.jwks.fetch import Deadline, DeadlineAdapter, is_loopback
from zuplo_origin.jwks.keys import ALGORITHMS
from zuplo_origin.jwt.reasons import Reason

TIMEOUT = 10.0
"""Seconds for one whole response."""
MAX_BODY = 65_536
"""Bytes of a response that are read."""
UNTRUSTED = "https://untrusted.example"
"""The ``iss`` of a token that no origin accepts."""


class InvalidTarget(ValueError):
    """A URL, path, header, scheme or token that cannot be sent. The message gives the reason."""


class NoResponse(Exception):
    """The origin sent no complete response. The message gives the reason."""


@dataclass(frozen=True)
class OriginResponse:
    """A response of the origin, with the first ``MAX_BODY`` bytes of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The member ``error`` of the body, in ASCII, or ``nothing``."""
        try:
            body = load_json(self.body)
        except ValueError:
            body = None
        error = body.get("error") if isinstance(body, dict) else None
        return ascii(error)[1:-1][:64] if isinstance(error, str) else "nothing"


class Origin:
    """The origin at ``url``, to which tokens are sent in ``header`` after ``scheme`` and a space.

    ``timeout`` is the limit in seconds for one whole response.

    Raises:
        InvalidTarget: one of the arguments is invalid.
    """

    def __init__(self, url: str, header: str, scheme: str, timeout: float) -> None:
        self.url, self._header, self._scheme, self._timeout = url.rstrip("/"), header, scheme, timeout
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username
        except ValueError:
            usable = False
        if not usable or not re.fullmatch("[!-~]+", url) or parts.query or parts.fragment:
            raise InvalidTarget(f"invalid URL {url!r}; expected one such as https://origin.example.com")
        if not re.fullmatch("[A-Za-z0-9-]+", header):
            raise InvalidTarget(f"--header: invalid value {header!r}; expected a name such as Authorization")
        if not re.fullmatch("[!-~]*", scheme):
            raise InvalidTarget(f"--scheme: invalid value {scheme!r}; expected a word such as Bearer")

    def get(self, path: str, token: str | None = None) -> OriginResponse:
        """Return the response to ``GET path`` with ``token``, without following redirects.

        Raises:
            NoResponse: no complete response arrived in time.
        """
        headers = {"Accept": "application/json", "User-Agent": "origin-check"}
        if token is not None:
            headers[self._header] = f"{self._scheme} {token}" if self._scheme else token
        with Deadline(self._timeout) as deadline, requests.Session() as session:
            session.mount("http://", DeadlineAdapter(deadline))
            session.mount("https://", DeadlineAdapter(deadline))
            session.trust_env = not is_loopback(self.url)  # no proxy for loopback
            session.auth = _unchanged  # otherwise requests reads credentials from .netrc
            try:
                response = session.get(
                    self.url + path, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
                )
                body = response.raw.read(MAX_BODY, decode_content=True)
            except (requests.RequestException, HTTPError, OSError) as error:
                raise NoResponse(self._late() if deadline.over() else type(error).__name__) from None
            if deadline.over():
                raise NoResponse(self._late())
        return OriginResponse(response.status_code, response.headers, body)

    def _late(self) -> str:
        return f"incomplete after {self._timeout:.0f} s"


def _unchanged(request: Any) -> Any:
    return request


CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def unsigned(claims: Mapping[str, Any]) -> str:
    """Return a token with ``claims`` and ``"alg": "none"`` (RFC 7518, section 3.6)."""
    return f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{_segment(claims)}."


def forged(claims: Mapping[str, Any], algorithm: str, kid: str) -> str:
    """Return a token with ``claims`` and ``kid``, signed with a new key of the attacker.

    ``algorithm`` is one of ``ALGORITHMS``; ``kid`` is the id of a key of the issuer.
    """
    key: Any
    if algorithm in CURVES:
        key = ECKey(ec.generate_private_key(CURVES[algorithm]), algorithm).to_dict()
    elif ALGORITHMS[algorithm].kty == "RSA":
        key = RSAKey(rsa.generate_private_key(65537, 2048), "RS256").to_dict()
        key.pop("alg")
    else:
        generated = SigningKey.generate()
        key = {"kty": "OKP", "crv": "Ed25519", "d": encode_base64url(bytes(generated))}
        key["x"] = encode_base64url(bytes(generated.verify_key))
    token: str = jwt.encode(dict(claims), key, algorithm=algorithm, headers={"kid": kid})
    return token


def _segment(value: Any) -> str:
    return encode_base64url(json.dumps(value, separators=(",", ":")).encode())


NO_TOKEN, INVALID, EXPIRED = (
    ERROR_RESPONSES[reason].error for reason in (Reason.NO_TOKEN, Reason.MALFORMED, Reason.EXPIRED)
)


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. ``passed`` is ``None`` if it was skipped."""

    check: str
    passed: bool | None
    detail: str


class OriginCheck:
    """The checks of the origin at ``url`` with the guarded route ``path``.

    ``token`` is one that the origin should accept, or one that has expired. ``sign`` returns a token of the trusted
    issuer for claims; with it, no check is skipped. ``header`` and ``scheme`` are those of the token.

    Raises:
        InvalidTarget: one of the arguments is invalid.
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
            raise InvalidTarget(f"--path: invalid value {path!r}; expected one such as /protected")
        if not re.fullmatch("[!-~]*", token or ""):
            raise InvalidTarget("--token: invalid value; expected printable ASCII without spaces")

    def run(self) -> Iterator[CheckResult]:
        """Run the checks in order, and yield each result. Stop after the first request without a complete response."""
        try:
            yield self._tls()
            yield self._rejects("no token", None, NO_TOKEN)
            yield self._rejects("garbage", "garbage", INVALID)
            claims, header = self._acceptable()
            yield self._rejects("alg: none", unsigned(claims), INVALID)
            token = forged(claims, header["alg"], header["kid"])
            yield self._rejects("an untrusted key", token, INVALID, f", kid {printable(header['kid'])}")
            yield self._expired(claims)
            yield self._valid(claims)
            yield from self._not_public()
        except NoResponse as error:
            yield CheckResult("a response", False, f"none: {error}")

    def _tls(self) -> CheckResult:
        if is_loopback(self._origin.url):
            return CheckResult("TLS", True, "not needed on loopback")
        scheme = urlsplit(self._origin.url).scheme
        return CheckResult("TLS", scheme == "https", scheme)

    def _acceptable(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return claims that the origin would accept in a signed token, as far as they are known, and the header."""
        now = int(time.time())
        usual = {"iss": UNTRUSTED, "sub": "untrusted", "iat": now}
        claims: dict[str, Any] = {**usual, "aud": self._origin.url + self._path}
        header: dict[str, Any] = {"alg": "EdDSA", "kid": "untrusted"}
        genuine = self._sign({**usual, "exp": now + 300}) if self._sign else self._token
        try:
            parts = [load_json(decode_base64url(part)) for part in (genuine or "").split(".")[:2]]
            header, claims = {**header, **parts[0]}, {**claims, **parts[1]}
        except (ValueError, TypeError, IndexError):
            pass  # without a readable token, the claims of an untrusted issuer are used
        if not isinstance(header["kid"], str) or header["alg"] not in tuple(ALGORITHMS):
            header = {"alg": "EdDSA", "kid": "untrusted"}
        return {**claims, "exp": now + 300}, header

    def _expired(self, claims: Mapping[str, Any]) -> CheckResult:
        past = int(time.time()) - 86_400
        if self._sign:
            return self._rejects("an expired token", self._sign({**claims, "iat": past - 300, "exp": past}), EXPIRED)
        if self._token and _expiry(self._token) < time.time():
            return self._rejects("an expired token", self._token, EXPIRED)
        return CheckResult("an expired token", None, "skipped: only the issuer can sign one")

    def _valid(self, claims: Mapping[str, Any]) -> CheckResult:
        token = self._sign(claims) if self._sign else self._token
        if token is None:
            return CheckResult("a valid token", None, "skipped: --token is not given")
        if not self._sign and _expiry(token) < time.time():
            return CheckResult("a valid token", None, "skipped: --token has expired")
        response = self._origin.get(self._path, token)
        problems = []
        if response.status != 200:
            problems.append(f"status {response.status}, {response.error}: jwt:inspect explains it")
        return _result("a valid token", problems + _caching_problems(response), "accepted")

    def _rejects(self, check: str, token: str | None, error: str, more: str = "") -> CheckResult:
        response = self._origin.get(self._path, token)
        problems = []
        if response.status != 401:
            problems.append(f"status {response.status} instead of 401")
        if response.error != error:
            problems.append(f"error {response.error} instead of {error}")
        if not response.headers.get("WWW-Authenticate"):
            problems.append("no WWW-Authenticate")
        if token and "." in token and token.encode() in response.body:
            problems.append("the body contains the token")
        return _result(check, problems + _caching_problems(response), f"401, {error}{more}")

    def _not_public(self) -> Iterator[CheckResult]:
        missing = self._origin.get(f"/{secrets.token_hex(8)}")
        html = "html" in missing.headers.get("Content-Type", "") or b"<html" in missing.body.lower()
        problems = [] if missing.status == 404 else [f"status {missing.status} for a path without a route"]
        problems += ["HTML"] if html else []
        problems += ["a traceback"] if b"Traceback" in missing.body else []
        yield _result("no debug page", problems, "404, no HTML")
        root = self._origin.get("/")
        page = root.status == 200 and "html" in root.headers.get("Content-Type", "")
        yield _result("no console", ["an HTML page at /"] if page else [], f"status {root.status} at /")
        metrics = self._origin.get("/metrics")
        yield _result("no metrics", ["/metrics is public"] if metrics.status == 200 else [], f"status {metrics.status}")


def _result(check: str, problems: list[str], success: str) -> CheckResult:
    return CheckResult(check, not problems, "; ".join(problems) or success)


def _caching_problems(response: OriginResponse) -> list[str]:
    directives = [word.strip().lower() for word in response.headers.get("Cache-Control", "").split(",")]
    return [] if "no-store" in directives else ["no Cache-Control: no-store"]


def _expiry(token: str) -> float:
    """Return the ``exp`` of a token, in seconds since the epoch, or infinity if it has none."""
    try:
        return float(load_json(decode_base64url(token.split(".")[1]))["exp"])
    except (ValueError, TypeError, KeyError, IndexError):
        return float("inf")
