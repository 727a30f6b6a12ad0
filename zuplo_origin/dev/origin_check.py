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
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.failures import FetchFailed, explained
from zuplo_origin.jwks.fetch import Deadline, DeadlineAdapter, is_loopback
from zuplo_origin.jwt.reasons import Reason

TIMEOUT = 10.0
"""Seconds for one whole response."""
MAX_BODY, MAX_DESCRIPTION = 65_536, 16_777_216
"""Bytes of a response, and of the API description, that are read."""
METHODS = ("get", "post", "put", "patch", "delete")
DEFAULT_PATH = "/protected"
UNTRUSTED = "https://untrusted.example"
"""The ``iss`` of a token that no origin accepts."""


class InvalidTarget(ValueError):
    """A URL, path, header, scheme or token that cannot be sent. The message gives the reason."""


class NoResponse(Exception):
    """The origin sent no complete response. The message gives the reason."""


@dataclass(frozen=True)
class OriginResponse:
    """A response of the origin, with the first bytes of its body."""

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

    ``timeout`` is the limit in seconds for one whole response. ``secret`` is the secret of the gateway, with its header
    before it.

    Raises:
        InvalidTarget: one of the arguments is invalid.
    """

    def __init__(
        self, url: str, header: str, scheme: str, timeout: float, secret: tuple[str, str] | None = None
    ) -> None:
        self._secret = secret
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
        if secret and not (re.fullmatch("[A-Za-z0-9-]+", secret[0]) and re.fullmatch("[!-~]+", secret[1])):
            raise InvalidTarget("--secret: GATEWAY_SECRET or GATEWAY_SECRET_HEADER cannot be sent; check their values")
        if secret and parts.scheme == "http" and not is_loopback(url):
            raise InvalidTarget("--secret: the secret is sent over https alone")

    def get(self, path: str, token: str | None = None) -> OriginResponse:
        return self.send("GET", path, token)

    def send(
        self,
        method: str,
        path: str,
        token: str | None = None,
        max_bytes: int = MAX_BODY,
        others: Mapping[str, str] | None = None,
    ) -> OriginResponse:
        """Return the response to ``method`` on ``path`` with ``token``, without following redirects.

        ``others`` are the other headers; by default, the one with the secret.

        Raises:
            NoResponse: no complete response arrived in time.
        """
        headers = {"Accept": "application/json", "User-Agent": "origin-check"}
        headers |= dict([self._secret] if self._secret else []) if others is None else others
        if token is not None:
            headers[self._header] = f"{self._scheme} {token}" if self._scheme else token
        with Deadline(self._timeout) as deadline, requests.Session() as session:
            session.mount("http://", DeadlineAdapter(deadline))
            session.mount("https://", DeadlineAdapter(deadline))
            session.trust_env = not is_loopback(self.url)  # no proxy for loopback
            session.auth = _unchanged  # otherwise requests reads credentials from .netrc
            try:
                response = session.request(
                    method, self.url + path, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
                )
                body = response.raw.read(max_bytes, decode_content=True)
            except FetchFailed as failed:
                raise NoResponse(self._late() if deadline.over() else str(failed)) from None
            except (requests.RequestException, HTTPError, OSError) as error:
                if deadline.over() or isinstance(error, requests.Timeout):
                    raise NoResponse(self._late()) from None
                raise NoResponse(str(explained(error, self.url + path, None, self._timeout, False))) from None
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
NOT_FROM_GATEWAY = "Not from the gateway"


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. ``passed`` is ``None`` if it was skipped."""

    check: str
    passed: bool | None
    detail: str


class OriginCheck:
    """The checks of the origin at ``url``, with a guarded route for GET at ``path``.

    ``token`` is one that the origin should accept, or one that has expired. ``sign`` returns a token of the trusted
    issuer for claims; with it, no check is skipped. ``header`` and ``scheme`` are those of the token. ``description``
    is the OpenAPI document whose routes are tried; by default, the one that the origin publishes. ``secret`` is the
    header and the value of the gateway's secret, without which every request must be rejected.

    Without ``sign``, a token that should be accepted is sent to ``path`` alone, and with methods other than GET only
    bad tokens are sent: a check changes nothing.

    Raises:
        InvalidTarget: one of the arguments is invalid.
    """

    def __init__(
        self,
        url: str,
        path: str | None = None,
        token: str | None = None,
        sign: Callable[[Mapping[str, Any]], str] | None = None,
        header: str = "Authorization",
        scheme: str = "Bearer",
        description: Any = None,
        secret: tuple[str, str] | None = None,
    ) -> None:
        self._origin, self._secret = Origin(url, header, scheme, TIMEOUT, secret), secret
        self._path, self._token, self._sign = path or DEFAULT_PATH, token, sign
        self._has_path, self._description = path is not None, description
        if not re.fullmatch("/[!-~]*", self._path):
            raise InvalidTarget(f"--path: invalid value {path!r}; expected one such as /protected")
        if not re.fullmatch("[!-~]*", token or ""):
            raise InvalidTarget("--token: invalid value; expected printable ASCII without spaces")

    def run(self) -> Iterator[CheckResult]:
        """Run the checks in order, and yield each result. Stop after the first request without a complete response."""
        try:
            yield self._tls()
            routes, why = self._routes()
            guarded = [route for route in routes if route.scopes is not None]
            usable = [route.path for route in guarded if route.method == "GET" and not route.has_parameters]
            if not self._has_path and usable and self._path not in usable:
                self._path = usable[0]
            yield self._rejects("no token", None, NO_TOKEN)
            yield self._rejects("garbage", "garbage", INVALID)
            claims, header = self._acceptable()
            yield self._rejects("alg: none", unsigned(claims), INVALID)
            token = forged(claims, header["alg"], header["kid"])
            yield self._rejects("an untrusted key", token, INVALID, f", kid {printable(header['kid'])}")
            yield self._expired(claims)
            yield self._valid(claims)
            if self._secret:
                yield from self._needs_secret(routes, claims)
            if why is not None:
                yield CheckResult("routes", None, f"skipped: {why}")
            bad_tokens = [None, "garbage", unsigned(claims), token]
            for route in guarded:
                yield self._guarded(route, bad_tokens, claims)
            if routes:
                others = [f"{route.method} {route.path}" for route in routes if route.scopes is None]
                yield CheckResult("open routes", True, ", ".join(others) or "none")
            yield from self._not_public()
        except NoResponse as error:
            yield CheckResult("a response", False, f"none: {error}")

    def _routes(self) -> tuple[list["DescribedRoute"], str | None]:
        """Return the routes of the description, and why there are none."""
        description = self._description
        if description is None:
            response = self._origin.send("GET", "/openapi.json", None, MAX_DESCRIPTION)
            if response.status != 200:
                return [], f"status {response.status} at /openapi.json; pass --openapi FILE"
            try:
                description = load_json(response.body)
            except ValueError:
                return [], "/openapi.json is not JSON; pass --openapi FILE"
        try:
            return list(_described_routes(description)), None
        except (AttributeError, KeyError, TypeError):
            return [], "the description is not an OpenAPI document"

    def _guarded(self, route: "DescribedRoute", bad_tokens: list[str | None], claims: Mapping[str, Any]) -> CheckResult:
        """Check that a guarded route rejects bad tokens, and a token without its scopes."""
        problems = []
        for token, name in zip(bad_tokens, ("no token", "garbage", "alg: none", "an untrusted key"), strict=True):
            response = self._origin.send(route.method, route.path, token)
            if response.status != 401:
                problems.append(f"status {response.status} instead of 401 with {name}")
        detail = f"401 for {len(bad_tokens)} bad tokens"
        lacking = self._token_without(route.scopes or ()) if route.scopes else None
        if lacking is not None and (self._sign or route.method == "GET"):
            response = self._origin.send(route.method, route.path, lacking)
            if response.status != 403:
                problems.append(
                    f"status {response.status} instead of 403 without the scope {' '.join(route.scopes or ())}"
                )
            detail += ", 403 without its scopes"
        return _result(f"{route.method} {printable(route.path)}", problems, detail)

    def _token_without(self, scopes: tuple[str, ...]) -> str | None:
        """Return a valid token that lacks one of ``scopes``; ``None`` if there is none."""
        if self._sign:
            now = int(time.time())
            return self._sign({"sub": "origin-check", "iat": now, "exp": now + 300, "scope": ""})
        if self._token is None or _expiry(self._token) < time.time():
            return None
        try:
            claims = load_json(decode_base64url(self._token.split(".")[1]))
        except (ValueError, IndexError):
            return None
        granted = json.dumps(claims)
        return self._token if not any(json.dumps(scope)[1:-1] in granted for scope in scopes) else None

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
        if response.error == NOT_FROM_GATEWAY:
            problems.append(
                "set GATEWAY_SECRET, and pass --secret" if not self._secret else "GATEWAY_SECRET is another"
            )
        if not response.headers.get("WWW-Authenticate"):
            problems.append("no WWW-Authenticate")
        if token and "." in token and token.encode() in response.body:
            problems.append("the body contains the token")
        return _result(check, problems + _caching_problems(response), f"401, {error}{more}")

    def _needs_secret(self, routes: list["DescribedRoute"], claims: Mapping[str, Any]) -> Iterator[CheckResult]:
        """Check that requests without the gateway's secret, or with another one, are rejected."""
        token = self._sign(claims) if self._sign else self._token
        tried: list[tuple[str, str, str | None]] = [
            ("GET", self._path, token),
            ("GET", f"/{secrets.token_hex(8)}", None),
        ]
        for route in routes:  # an open route is tried with GET alone: another method might change something
            if (route.scopes is not None or route.method == "GET") and not route.path.startswith("/health/"):
                tried.append((route.method, route.path, None))
        header, _ = self._secret or ("", "")
        for check, others in (("no secret", {}), ("another secret", {header: secrets.token_hex(32)})):
            problems = []
            for method, path, sent in tried:
                response = self._origin.send(method, path, sent, others=others)
                if response.status != 401 or response.error != NOT_FROM_GATEWAY:
                    problems.append(f"{method} {printable(path)}: status {response.status}, {response.error}")
            detail = f"401, {NOT_FROM_GATEWAY}, for {len(tried)} requests"
            yield _result(check, [f"accepted: {each}" for each in problems], detail)

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


@dataclass(frozen=True)
class DescribedRoute:
    """A route of the description. ``path`` has a value for each parameter; ``scopes`` is ``None`` without a guard."""

    method: str
    path: str
    has_parameters: bool
    scopes: tuple[str, ...] | None


def _described_routes(description: Any) -> Iterator[DescribedRoute]:
    for path, entry in description["paths"].items():
        for method, operation in entry.items():
            if method not in METHODS:
                continue
            security = operation.get("security", description.get("security"))
            scopes = None
            if security and all(security):
                scopes = tuple(str(scope) for scopes in security[0].values() for scope in scopes)
            filled = str(path)
            for each in operation.get("parameters", []):
                if each["in"] == "path":
                    value = "0" if each["schema"].get("type") == "integer" else "origin-check"
                    filled = filled.replace(f"{{{each['name']}}}", value)
            if re.fullmatch("/[!-~]*", filled):
                yield DescribedRoute(method.upper(), filled, filled != path, scopes)


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
