"""A smoke test of an origin from outside."""

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

LONGEST = 65_536
"""Bytes of an answer that are looked at."""


class BadAddress(ValueError):
    """What is to be asked for cannot be. Its text says why."""


class NoAnswer(Exception):
    """Nothing came back that is a whole answer. Its text says why."""


@dataclass(frozen=True)
class Answer:
    """What an origin answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON, ``None`` where it is none."""
        try:
            return load_json(self.body)
        except ValueError:
            return None


class Origin:
    """The origin at ``url``, which takes tokens in ``header``, after ``scheme`` and a blank.

    An answer is waited for ``timeout`` seconds, to its last byte. Raises ``BadAddress``.
    """

    def __init__(self, url: str, header: str, scheme: str, timeout: float) -> None:
        self.url, self._header, self._scheme, self._timeout = url.rstrip("/"), header, scheme, timeout
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username
        except ValueError:
            usable = False
        if not usable or not re.fullmatch("[!-~]+", url) or parts.query or parts.fragment:
            raise BadAddress("the address is a URL, as in https://origin.example.com")
        if not re.fullmatch("[A-Za-z0-9-]+", header) or not re.fullmatch("[!-~]*", scheme):
            raise BadAddress("--header and --scheme are words, as in Authorization and Bearer")

    def get(self, path: str, token: str | None = None) -> Answer:
        """Return the answer to a request for ``path`` with ``token``. Follows nothing; raises ``NoAnswer``."""
        headers = {"Accept": "application/json", "User-Agent": "origin-check"}
        if token is not None:
            headers[self._header] = f"{self._scheme} {token}" if self._scheme else token
        with Deadline(self._timeout) as deadline, requests.Session() as session:
            session.mount("http://", DeadlineAdapter(deadline))
            session.mount("https://", DeadlineAdapter(deadline))
            session.trust_env = not is_loopback(self.url)  # no proxy for this machine
            session.auth = _as_it_is  # nothing out of .netrc
            try:
                answer = session.get(
                    self.url + path, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
                )
                body = answer.raw.read(LONGEST, decode_content=True)
            except (requests.RequestException, HTTPError, OSError) as error:
                raise NoAnswer(self._late() if deadline.over() else type(error).__name__) from None
            if deadline.over():
                raise NoAnswer(self._late())
        return Answer(answer.status_code, answer.headers, body)

    def _late(self) -> str:
        return f"not whole after {self._timeout:.0f} s"


def _as_it_is(request: Any) -> Any:
    return request


CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def unsigned(claims: Mapping[str, Any]) -> str:
    """Return a token with ``claims`` that says it needs no signature, and has none (RFC 7518, section 3.6)."""
    return f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{_segment(claims)}."


def forged(claims: Mapping[str, Any], algorithm: str, kid: str) -> str:
    """Return a token with ``claims`` as an issuer would sign it, but with a key that was made just now.

    ``algorithm`` is one of ``ALGORITHMS``; ``kid`` is the id of somebody else's key.
    """
    key: Any
    if algorithm in CURVES:
        key = ECKey(ec.generate_private_key(CURVES[algorithm]), algorithm).to_dict()
    elif ALGORITHMS[algorithm].kty == "RSA":
        key = RSAKey(rsa.generate_private_key(65537, 2048), "RS256").to_dict()
        key.pop("alg")
    else:
        made = SigningKey.generate()
        key = {"kty": "OKP", "crv": "Ed25519", "d": encode_base64url(bytes(made))}
        key["x"] = encode_base64url(bytes(made.verify_key))
    token: str = jwt.encode(dict(claims), key, algorithm=algorithm, headers={"kid": kid})
    return token


def _segment(value: Any) -> str:
    return encode_base64url(json.dumps(value, separators=(",", ":")).encode())


TIMEOUT = 10.0
NO_TOKEN, INVALID, EXPIRED = (
    ERROR_RESPONSES[reason].error for reason in (Reason.NO_TOKEN, Reason.MALFORMED, Reason.EXPIRED)
)


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
            parts = [load_json(decode_base64url(part)) for part in (genuine or "").split(".")[:2]]
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
        return float(load_json(decode_base64url(token.split(".")[1]))["exp"])
    except (ValueError, TypeError, KeyError, IndexError):
        return float("inf")
