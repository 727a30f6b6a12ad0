"""Authenticate a request: read the token from its header, verify it, check its scopes, or reject the request."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from zuplo_origin.http.errors import error
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwt.claims import SCOPE_CLAIMS, has_scopes, is_scope, meets, parse_required
from zuplo_origin.jwt.reasons import Reason, Rejected
from zuplo_origin.jwt.verifier import MAX_LENGTH, TokenVerifier


@dataclass(frozen=True)
class ErrorResponse:
    """The response for one reason. ``code`` is the error code of the challenge (RFC 6750, section 3.1)."""

    status: int
    error: str
    details: str | None = None
    code: str | None = None


def _invalid(details: str) -> ErrorResponse:
    return ErrorResponse(401, "Invalid token", details, "invalid_token")


ERROR_RESPONSES = {
    Reason.NO_TOKEN: ErrorResponse(401, "No token provided"),
    Reason.SEVERAL_TOKENS: ErrorResponse(400, "Invalid request", "More than one token was sent", "invalid_request"),
    Reason.TOO_LARGE: _invalid("The token is too large"),
    Reason.MALFORMED: _invalid("The token is malformed"),
    Reason.ALGORITHM_NOT_ALLOWED: _invalid("The token's algorithm is not allowed"),
    Reason.CRITICAL_HEADER: _invalid("The token has a critical header that is not understood"),
    Reason.WRONG_TYPE: _invalid("The token is of another type"),
    Reason.UNKNOWN_ISSUER: _invalid("The token's issuer is not accepted"),
    Reason.UNKNOWN_KEY: _invalid("The token's key is not known"),
    Reason.BAD_SIGNATURE: _invalid("The token's signature is not valid"),
    Reason.EXPIRED: ErrorResponse(401, "Token has expired", None, "invalid_token"),
    Reason.NOT_YET_VALID: _invalid("The token is not valid yet"),
    Reason.ISSUED_IN_FUTURE: _invalid("The token was issued in the future"),
    Reason.WRONG_AUDIENCE: _invalid("The token is for another audience"),
    Reason.MISSING_CLAIM: _invalid("The token lacks a claim"),
    Reason.INVALID_CLAIM: _invalid("A claim of the token has no valid value"),
    Reason.CLAIM_MISMATCH: _invalid("A claim of the token has another value than required"),
    Reason.SENDER_CONSTRAINED: _invalid("The token is bound to its sender"),
    Reason.INSUFFICIENT_SCOPE: ErrorResponse(
        403, "Insufficient scope", "The token lacks a scope that is required here", "insufficient_scope"
    ),
    Reason.KEYS_UNAVAILABLE: ErrorResponse(503, "Signing keys unavailable"),
}
"""The response for each reason. None of them contains any part of a token or its claims."""

_BODIES = {
    reason: orjson.dumps({"error": each.error} | ({"details": each.details} if each.details else {}))
    for reason, each in ERROR_RESPONSES.items()
}


@dataclass(frozen=True)
class Guard:
    """The authentication of guarded routes, called by ``JWTAuthMiddleware``. Bound to the container as ``guard``.

    ``header`` is the WSGI key of the header with the token. ``scheme`` is empty if the header has only the token.
    ``resource_metadata`` is a URL (RFC 9728, section 5.1).
    """

    verifier: TokenVerifier
    header: str
    scheme: str
    realm: str
    resource_metadata: str | None = None
    scope_claims: tuple[str, ...] = SCOPE_CLAIMS

    def verify(self, request: Any, scopes: Sequence[str] = ()) -> dict[str, Any]:
        """Return the verified claims of the token in ``request``, if they have all ``scopes``.

        Further calls for the same request return the claims again, without verifying. Raises ``Rejected``.
        """
        if request.verified is None:
            try:
                field = request.environ.get(self.header)
                request.verified = self.verifier.verify(token_from(field, self.scheme, self.verifier.max_length))
            except Rejected as rejected:
                request.verified = rejected
            except KeysUnavailable as error:
                request.verified = Rejected(Reason.KEYS_UNAVAILABLE, issuer=error.issuer, retry_after=error.retry_after)
        if isinstance(request.verified, Rejected):
            raise request.verified
        claims: dict[str, Any] = request.verified
        if scopes and not self.has_scopes(claims, *scopes):
            raise Rejected(Reason.INSUFFICIENT_SCOPE, issuer=claims["iss"])
        return claims

    def has_scopes(self, claims: Mapping[str, Any], *scopes: str) -> bool:
        """Return whether ``claims`` grant all ``scopes``, in one of the claims that ``JWT_SCOPE_CLAIMS`` names."""
        return has_scopes(claims, *scopes, names=self.scope_claims)

    def reject(self, request: Any, response: Any, rejected: Rejected, scopes: Sequence[str] = ()) -> Any:
        """Fill ``response`` with the error for ``rejected``, and return it. The access log reads its reason."""
        request.rejected = rejected.with_traceback(None)  # a traceback would keep the request in memory
        reason = rejected.reason
        if reason is Reason.KEYS_UNAVAILABLE:
            response.header("Retry-After", str(rejected.retry_after))
        else:
            response.header("WWW-Authenticate", self._challenge(reason, tuple(scopes)))
        response.json_text(_BODIES[reason], ERROR_RESPONSES[reason].status)
        return response

    def _challenge(self, reason: Reason, scopes: tuple[str, ...]) -> str:
        return _challenge(reason, self.scheme or "Bearer", self.realm, scopes, self.resource_metadata)


@lru_cache(maxsize=1024)
def _challenge(reason: Reason, scheme: str, realm: str, scopes: tuple[str, ...], metadata: str | None) -> str:
    """Return the value of ``WWW-Authenticate`` (RFC 9110, section 11.6.1; RFC 6750, section 3)."""
    error = ERROR_RESPONSES[reason]
    challenge = f'{scheme} realm="{realm}"'
    if error.code:
        challenge += f', error="{error.code}", error_description="{error.details or error.error}"'
    if reason is Reason.INSUFFICIENT_SCOPE:
        challenge += f', scope="{" ".join(filter(is_scope, scopes))}"'
    if metadata is not None:
        challenge += f', resource_metadata="{metadata}"'
    return challenge


MOST_SPACES = 64
"""Spaces between scheme and token; a field with more is too large if its token has the greatest length."""


def token_from(value: str | None, scheme: str, longest: int = MAX_LENGTH) -> str:
    """Return the token in ``value``, a header field of the form ``scheme token``; with an empty scheme, ``token``.

    One or more spaces separate the two (RFC 6750, section 2.1).

    Servers join several fields of one name with commas. No token contains a comma, so a comma means several fields.

    Raises ``Rejected`` with ``NO_TOKEN`` if there is no token, or if the field has another scheme; with
    ``SEVERAL_TOKENS``; with ``TOO_LARGE`` if the token has more than ``longest`` characters; with ``MALFORMED`` if a
    tab is before the token.
    """
    field = (value or "").strip(" \t")
    if len(field) > longest + len(scheme) + MOST_SPACES:
        raise Rejected(Reason.TOO_LARGE)
    if "," in field:
        ours = not scheme or any(_has_scheme(part.strip(" \t"), scheme) for part in field.split(","))
        raise Rejected(Reason.SEVERAL_TOKENS if ours else Reason.NO_TOKEN)
    if scheme:
        if not _has_scheme(field, scheme):
            raise Rejected(Reason.NO_TOKEN)
        field = field[len(scheme) :].lstrip(" ")
    if not field:
        raise Rejected(Reason.NO_TOKEN)
    if " " in field or "\t" in field:
        words = [word for word in re.split("[ \t]", field) if word]
        raise Rejected(Reason.SEVERAL_TOKENS if len(words) > 1 else Reason.MALFORMED)
    return field


def _has_scheme(field: str, scheme: str) -> bool:
    """Return whether ``field`` has ``scheme``, compared case-insensitively, with or without a token."""
    length = len(scheme)
    return field[:length].lower() == scheme.lower() and field[length : length + 1] in ("", " ")


def check_scopes(scopes: Sequence[str]) -> None:
    """Raise ``ValueError`` for the name of a scope that no token can have, or no challenge can contain."""
    for scope in scopes:
        if not is_scope(scope):
            raise ValueError(f'{scope!r} is not the name of a scope: printable ASCII without spaces, " and \\')


class ClaimsMiddleware:
    """Registered in the Kernel as ``claims``: ``.middleware("jwt", "claims:roles=admin")`` requires claims.

    Requirements are written as in ``JWT_REQUIRED_CLAIMS``. A token that lacks one gets 403. It guards a route without
    ``jwt`` too.
    """

    before_body = True

    @staticmethod
    def check_arguments(requirements: Sequence[str]) -> None:
        """Raise ``ValueError`` for an invalid requirement, or without any. The router calls this at start."""
        if not requirements:
            raise ValueError("it requires nothing; name a claim, as in claims:roles=admin")
        for requirement in requirements:
            parse_required(requirement)

    def before(self, request: Any, response: Any, *requirements: str) -> Any:
        guard = request.app.make("guard")
        try:
            claims = guard.verify(request)
            request.set_user(claims)
        except Rejected as rejected:
            return guard.reject(request, response, rejected)
        for requirement in requirements:
            if not meets(claims, requirement):
                request.rejected = Rejected(Reason.CLAIM_MISMATCH, issuer=claims["iss"])
                return error(response, 403)
        return request

    def after(self, request: Any, response: Any, *requirements: str) -> Any:
        response.header("Cache-Control", "no-store")  # as JWTAuthMiddleware does
        return request
