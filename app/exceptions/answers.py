"""What is said to clients when something is wrong: one table, with phrases that are fixed.

Nothing of a token, of a claim or of a library's message is in any of them (RFC 6750, section 3; RFC 9110, section 15).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from app.jwt.reasons import Reason

ERRORS = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    413: "Payload too large",
    415: "Unsupported media type",
    500: "Internal server error",
    503: "Service unavailable",
}
"""Status to phrase, for all that has nothing to do with a token. Any other 4xx is answered as 400."""


@dataclass(frozen=True)
class Refusal:
    """How one reason is answered: the status, the body's members, and the challenge's error code (RFC 6750, 3.1)."""

    status: int
    error: str
    details: str | None = None
    code: str | None = None


def _invalid(details: str) -> Refusal:
    return Refusal(401, "Invalid token", details, "invalid_token")


REFUSALS = {
    Reason.NO_TOKEN: Refusal(401, "No token provided"),
    Reason.SEVERAL_TOKENS: Refusal(400, "Invalid request", "More than one token was sent", "invalid_request"),
    Reason.TOO_LARGE: _invalid("The token is too large"),
    Reason.MALFORMED: _invalid("The token is malformed"),
    Reason.ALGORITHM_NOT_ALLOWED: _invalid("The token's algorithm is not allowed"),
    Reason.CRITICAL_HEADER: _invalid("The token has a critical header that is not understood"),
    Reason.WRONG_TYPE: _invalid("The token is of another type"),
    Reason.UNKNOWN_ISSUER: _invalid("The token's issuer is not accepted"),
    Reason.UNKNOWN_KEY: _invalid("The token's key is not known"),
    Reason.BAD_SIGNATURE: _invalid("The token's signature is not valid"),
    Reason.EXPIRED: Refusal(401, "Token has expired", None, "invalid_token"),
    Reason.NOT_YET_VALID: _invalid("The token is not valid yet"),
    Reason.ISSUED_IN_FUTURE: _invalid("The token was issued in the future"),
    Reason.WRONG_AUDIENCE: _invalid("The token is for another audience"),
    Reason.MISSING_CLAIM: _invalid("The token lacks a claim"),
    Reason.INVALID_CLAIM: _invalid("A claim of the token has no valid value"),
    Reason.CLAIM_MISMATCH: _invalid("A claim of the token has another value than required"),
    Reason.SENDER_CONSTRAINED: _invalid("The token is bound to its sender"),
    Reason.INSUFFICIENT_SCOPE: Refusal(
        403, "Insufficient scope", "The token lacks a scope that is required here", "insufficient_scope"
    ),
    Reason.KEYS_UNAVAILABLE: Refusal(503, "Signing keys unavailable"),
}
"""Every reason there is, and its answer."""

_BODIES = {
    reason: orjson.dumps({"error": answer.error} | ({"details": answer.details} if answer.details else {}))
    for reason, answer in REFUSALS.items()
}


def error(response: Any, status: int, headers: Mapping[str, str] | None = None) -> Any:
    """Fill ``response`` with the answer for ``status``, and return it."""
    status = status if status in ERRORS else 400
    response.with_headers(headers or {}).json({"error": ERRORS[status]}, status=status)
    return response


def internal_error(response: Any) -> Any:
    """Fill ``response`` with the answer for a mistake of the application, and return it."""
    return error(response, 500)


class Challenge(NamedTuple):
    """The words of a challenge (RFC 9110, section 11.6.1), beyond those that the reason has.

    ``scopes`` are those that the route asks for, ``resource_metadata`` is a URL (RFC 9728, section 5.1).
    """

    scheme: str
    realm: str
    scopes: tuple[str, ...] = ()
    resource_metadata: str | None = None


def refusal(response: Any, reason: Reason, challenge: Challenge, retry_after: int = 1) -> Any:
    """Fill ``response`` with the answer for ``reason``, and return it.

    ``retry_after`` is in seconds, for keys that are unavailable.
    """
    if reason is Reason.KEYS_UNAVAILABLE:
        response.header("Retry-After", str(retry_after))
    else:
        response.header("WWW-Authenticate", _spelled(reason, challenge))
    response.json_text(_BODIES[reason], REFUSALS[reason].status)
    return response


@lru_cache(maxsize=1024)
def _spelled(reason: Reason, challenge: Challenge) -> str:
    answer = REFUSALS[reason]
    spelled = f'{challenge.scheme} realm="{challenge.realm}"'
    if answer.code:
        spelled += f', error="{answer.code}", error_description="{answer.details or answer.error}"'
    if reason is Reason.INSUFFICIENT_SCOPE:
        spelled += f', scope="{" ".join(challenge.scopes)}"'
    if challenge.resource_metadata is not None:
        spelled += f', resource_metadata="{challenge.resource_metadata}"'
    return spelled


_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
_KEYS = tuple((name.lower(), (name, value)) for name, value in _ALWAYS)


def hardened(response: Any) -> list[tuple[str, str]]:
    """Return the headers of ``response``, and those that every answer of the application carries.

    An answer is data, for whoever asked for it: no browser is to take it for anything else, show it in a frame, or keep
    it. A controller may say otherwise; of a guarded route nothing is ever kept, see ``JWTAuthMiddleware``.
    """
    headers: list[tuple[str, str]] = response.get_headers()
    said = response.header_bag.bag
    return headers + [field for key, field in _KEYS if key not in said]
