"""Advice on rejected tokens, for people: the known causes of a failed rule, one sentence each."""

import re
from collections.abc import Callable
from typing import Any

from zuplo_origin.encoding import decode_base64url

from . import verifier
from .reasons import Reason
from .verifier import Candidate

MILLISECONDS = 100_000_000_000
"""A date from here on, in the year 5138, was written in milliseconds."""


def advise(rule: Callable[[Candidate], None], candidate: Candidate, reason: Reason) -> str:
    """Return the likely cause if ``rule`` rejects ``candidate`` for ``reason``; an empty string if none is known.

    The advice quotes no part of the signature.
    """
    find = _ADVICE.get((rule, reason))
    return find(candidate) if find is not None else ""


def _too_large(candidate: Candidate) -> str:
    return "a token with many groups or roles: have the issuer leave them out, or raise JWT_MAX_BYTES"


def _malformed(candidate: Candidate) -> str:
    text = candidate.text
    segments = text.split(".")
    if re.search(r"\s", text):
        return "there is white space inside the token: it was broken into lines, or two values were joined"
    if len(segments) == 5:
        return "five segments are an encrypted token (JWE): have the issuer send a signed one for this API's audience"
    if len(segments) == 1:
        return "it is an opaque token, not a JWT: ask the issuer for a token with this API's audience or resource"
    if len(segments) != 3:
        return "a JWT has three segments: part of the token is missing, or there is too much of it"
    if not all(segments):
        return "a segment is empty"
    if "=" in text:
        return (
            "padding (=) is not base64url (RFC 7515, section 2); AWS Application Load Balancers pad the token in "
            "x-amzn-oidc-data: have the client send the issuer's own token"
        )
    if re.search("[+/]", text):
        return "+ and / are of the standard base64 alphabet; a token needs base64url, with - and _"
    return _unreadable(segments)


def _unreadable(segments: list[str]) -> str:
    for name, segment in zip(("header", "payload", "signature"), segments, strict=True):
        try:
            decoded = decode_base64url(segment)
        except ValueError:
            return f"the {name} is not base64url: characters are missing or were changed"
        if name != "signature" and not decoded.lstrip().startswith(b"{"):
            return f"the {name} is not a JSON object"
    return "header or payload is not valid JSON, or has a member twice"


def _algorithm(candidate: Candidate) -> str:
    name = candidate.token.header.get("alg")
    if isinstance(name, str) and name.upper().startswith("HS"):
        return f"{name} is signed with a shared secret: have the issuer sign with a key pair (RS256, ES256, EdDSA)"
    if isinstance(name, str) and name.lower() == "none":
        return "a token without a signature is never accepted"
    return "add it to JWT_ALGORITHMS if it is one of EdDSA, RS, PS and ES 256, 384 and 512"


def _type(candidate: Candidate) -> str:
    return "it is no access token: send the access token, not an ID token or logout token"


def _issuer(candidate: Candidate) -> str:
    name = candidate.token.claims.get("iss")
    if not isinstance(name, str):
        return f"iss is {_kind(name)}, not a string"
    for known in candidate.issuers:
        if name.rstrip("/") == known.rstrip("/"):
            return "they differ in the slash at the end: JWT_ISSUER is compared exactly"
        if name.lower() == known.lower():
            return "they differ in upper and lower case: JWT_ISSUER is compared exactly"
        if name.partition("://")[2] == known.partition("://")[2] != "":
            return "they differ in http and https: JWT_ISSUER is compared exactly"
    return "set JWT_ISSUER to this iss if you trust it"


def _signature(candidate: Candidate) -> str:
    if not candidate.token.signature:
        return "a token without a signature is never accepted"
    if "nonce" in candidate.token.header:
        return (
            "the header has a nonce: Microsoft Entra signs such tokens for its own APIs (Microsoft Graph), which alone "
            "can verify them; request a scope of this API (api://<client id>/.default)"
        )
    return "the token was changed, or the issuer signed it with another key than it publishes under this kid"


def _kid(candidate: Candidate) -> str:
    return f"kid is {_kind(candidate.token.header['kid'])}, not a string (RFC 7515, section 4.1.4)"


def _dates(candidate: Candidate) -> str:
    claims = candidate.token.claims
    for name in ("exp", "nbf", "iat"):
        if name in claims and type(claims[name]) not in (int, float):
            return f"{name} is {_kind(claims[name])}, not a number of seconds (RFC 7519, section 2)"
    return "a date is out of range"


def _strings(candidate: Candidate) -> str:
    claims = candidate.token.claims
    for name in ("sub", "jti"):
        if name in claims and not isinstance(claims[name], str):
            return f"{name} is {_kind(claims[name])}, not a string (RFC 7519, section 4.1)"
    return "a number is too large for JSON"


def _audience_type(candidate: Candidate) -> str:
    return "aud must be a string or a list of strings (RFC 7519, section 4.1.3)"


def _early(candidate: Candidate) -> str:
    dates = [candidate.token.claims.get(name) for name in ("nbf", "iat")]
    if any(isinstance(date, (int, float)) and date > MILLISECONDS for date in dates):
        return "the date is in milliseconds, not in seconds (RFC 7519, section 2)"
    return "the clock of the issuer or of this machine is wrong; JWT_LEEWAY allows for up to 300 seconds"


def _no_expiry(candidate: Candidate) -> str:
    return "a token without exp never expires, and is never accepted"


def _no_audience(candidate: Candidate) -> str:
    return (
        "if the issuer writes no aud (Amazon Cognito), set JWT_AUDIENCE=*, and require another claim that only your "
        "tokens have (JWT_REQUIRED_CLAIMS=client_id=<yours>)"
    )


def _audience(candidate: Candidate) -> str:
    named = candidate.token.claims.get("aud")
    exact = candidate.trusted_issuer.audiences.exact
    for one in named if isinstance(named, list) else [named]:
        if isinstance(one, str) and any(one.rstrip("/") == each.rstrip("/") for each in exact):
            return "they differ in the slash at the end: audiences are compared exactly"
    return "the token was issued for another API; if it is this one, add the value to JWT_AUDIENCE"


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return "null" if value is None else names[type(value)]


_ADVICE: dict[tuple[Callable[[Candidate], None], Reason], Callable[[Candidate], str]] = {
    (verifier.check_form, Reason.TOO_LARGE): _too_large,
    (verifier.check_form, Reason.MALFORMED): _malformed,
    (verifier.check_algorithm, Reason.ALGORITHM_NOT_ALLOWED): _algorithm,
    (verifier.check_issuer, Reason.ALGORITHM_NOT_ALLOWED): _algorithm,
    (verifier.check_type, Reason.WRONG_TYPE): _type,
    (verifier.check_issuer, Reason.UNKNOWN_ISSUER): _issuer,
    (verifier.check_key, Reason.MALFORMED): _kid,
    (verifier.check_signature, Reason.BAD_SIGNATURE): _signature,
    (verifier.check_dates, Reason.INVALID_CLAIM): _dates,
    (verifier.check_dates, Reason.MISSING_CLAIM): _no_expiry,
    (verifier.check_dates, Reason.NOT_YET_VALID): _early,
    (verifier.check_dates, Reason.ISSUED_IN_FUTURE): _early,
    (verifier.check_audience, Reason.INVALID_CLAIM): _audience_type,
    (verifier.check_audience, Reason.MISSING_CLAIM): _no_audience,
    (verifier.check_audience, Reason.WRONG_AUDIENCE): _audience,
    (verifier.check_other_claims, Reason.INVALID_CLAIM): _strings,
}
