"""What a token must be: the rules, in the order in which they are checked.

Each is a function of the ``Candidate``, and raises ``Refused`` where the token breaks it. The order matters: a forged
token is told that it is invalid, not that it has expired.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.encoding import strict_json

from .audience import Audiences
from .parsing import Token, parse
from .reasons import Reason, Refused

TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""RFC 7519, section 5.1; RFC 9068, section 2.1."""
MAX_DATE = 2**53
"""Beyond it a date is not told apart from its neighbour (RFC 7493, section 2.2)."""


_DATES = ("exp", "nbf", "iat")
_STRINGS = ("sub", "jti")


class Verifier(Protocol):
    """A public key with its algorithm."""

    def verify(self, msg: bytes, sig: bytes) -> bool: ...


class KeySource(Protocol):
    """Where the keys of one issuer come from."""

    def find(self, kid: str | None, algorithm: str) -> Verifier | None:
        """Return the one key for ``kid`` and ``algorithm``; ``None`` where there is none, or more than one."""

    def generation(self) -> int | None:
        """Return a number that changes with the keys; ``None`` while none may be used."""


@dataclass(frozen=True)
class Issuer:
    """What tokens of one issuer must be. ``leeway`` is in seconds; ``algorithms`` are names as tokens spell them."""

    name: str
    algorithms: frozenset[str]
    audiences: Audiences
    required_claims: Mapping[str, Any]
    leeway: float
    keys: KeySource


class Candidate:
    """A token on its way through the rules, and what is known of it so far.

    ``algorithms`` are those that some of the ``issuers`` may use; ``now`` is in seconds since the epoch.
    """

    token: Token
    algorithm: str
    issuer: Issuer | None = None
    kid: str | None = None
    generation: int | None = None
    verifier: Verifier

    def __init__(self, text: str, issuers: Mapping[str, Issuer], algorithms: frozenset[str], now: float) -> None:
        self.text = text
        self.issuers = issuers
        self.algorithms = algorithms
        self.now = now

    @property
    def believed(self) -> Issuer:
        """The token's issuer, after the rule that finds it."""
        if self.issuer is None:
            raise LookupError("the issuer is not known yet")
        return self.issuer


def form(candidate: Candidate) -> None:
    """Three segments of base64url with JSON inside, 8 KiB at most (RFC 7515, section 7.1; RFC 7519, section 7.2)."""
    candidate.token = parse(candidate.text)


def algorithm(candidate: Candidate) -> None:
    """``alg`` is a string, and one that some issuer may use (RFC 7515, section 4.1.1; RFC 8725, section 3.1)."""
    name = candidate.token.header.get("alg")
    if not isinstance(name, str) or name not in candidate.algorithms:
        raise Refused(Reason.ALGORITHM_NOT_ALLOWED)
    candidate.algorithm = name


def critical(candidate: Candidate) -> None:
    """There is no ``crit``: no extension is understood here (RFC 7515, section 4.1.11)."""
    if "crit" in candidate.token.header:
        raise Refused(Reason.CRITICAL_HEADER)


def type_(candidate: Candidate) -> None:
    """``typ`` is absent, or an access token's (RFC 8725, section 3.11; RFC 9068, section 4)."""
    header = candidate.token.header
    if "typ" in header and (not isinstance(header["typ"], str) or header["typ"].lower() not in TYPES):
        raise Refused(Reason.WRONG_TYPE)


def issuer(candidate: Candidate) -> None:
    """``iss`` is an accepted issuer, who may use the algorithm (RFC 7519, section 4.1.1; RFC 8725, section 3.8)."""
    name = candidate.token.claims.get("iss")
    found = candidate.issuers.get(name) if isinstance(name, str) else None
    if found is None:
        raise Refused(Reason.UNKNOWN_ISSUER)
    candidate.issuer = found
    if candidate.algorithm not in found.algorithms:
        raise Refused(Reason.ALGORITHM_NOT_ALLOWED)


def key(candidate: Candidate) -> None:
    """Exactly one key of that issuer fits; the token brings none itself (RFC 7515, sections 4.1.4 and 6)."""
    header = candidate.token.header
    if "kid" in header and not isinstance(header["kid"], str):
        raise Refused(Reason.MALFORMED)
    candidate.kid = header.get("kid")
    keys = candidate.believed.keys
    candidate.generation = keys.generation()  # before the key is looked up: it may be withdrawn in between
    verifier = keys.find(candidate.kid, candidate.algorithm)
    if verifier is None:
        raise Refused(Reason.UNKNOWN_KEY)
    candidate.verifier = verifier


def signature(candidate: Candidate) -> None:
    """The signature is that key's (RFC 7515, section 5.2)."""
    token = candidate.token
    if not candidate.verifier.verify(token.signing_input, token.signature):
        raise Refused(Reason.BAD_SIGNATURE)


def dates(candidate: Candidate) -> None:
    """``exp`` is there and ahead; ``nbf`` and ``iat``, where they are, are behind (RFC 7519, 4.1.4 to 4.1.6)."""
    claims, leeway, now = candidate.token.claims, candidate.believed.leeway, candidate.now
    if "exp" not in claims:
        raise Refused(Reason.MISSING_CLAIM)
    for name in _DATES:
        if name in claims and not _is_date(claims[name]):
            raise Refused(Reason.INVALID_CLAIM)
    if now >= claims["exp"] + leeway:
        raise Refused(Reason.EXPIRED)
    if "nbf" in claims and claims["nbf"] > now + leeway:
        raise Refused(Reason.NOT_YET_VALID)
    if "iat" in claims and claims["iat"] > now + leeway:
        raise Refused(Reason.ISSUED_IN_FUTURE)


def audience(candidate: Candidate) -> None:
    """``aud`` names this application (RFC 7519, section 4.1.3; RFC 8725, section 3.9)."""
    claims, audiences = candidate.token.claims, candidate.believed.audiences
    if "aud" not in claims:
        if audiences.anything:
            return
        raise Refused(Reason.MISSING_CLAIM)
    named = claims["aud"]
    listed = named if isinstance(named, list) else [named]
    for one in listed:
        if not isinstance(one, str):
            raise Refused(Reason.INVALID_CLAIM)
    if not audiences.accept(listed):
        raise Refused(Reason.WRONG_AUDIENCE)


def other_claims(candidate: Candidate) -> None:
    """``sub`` and ``jti`` are strings, and every number is one that JSON can hand on (RFC 7519, 4.1.2 and 4.1.7)."""
    claims = candidate.token.claims
    for name in _STRINGS:
        if name in claims and not isinstance(claims[name], str):
            raise Refused(Reason.INVALID_CLAIM)
    if strict_json.has_nonfinite(claims):
        raise Refused(Reason.INVALID_CLAIM)


def sender(candidate: Candidate) -> None:
    """It is a bearer token: one bound to its sender proves nothing without the proof (RFC 7800, section 3.1)."""
    if "cnf" in candidate.token.claims:
        raise Refused(Reason.SENDER_CONSTRAINED)


def required_claims(candidate: Candidate) -> None:
    """Each required claim holds its value, whole and of the same type."""
    claims = candidate.token.claims
    for name, value in candidate.believed.required_claims.items():
        if name not in claims:
            raise Refused(Reason.MISSING_CLAIM)
        if type(claims[name]) is not type(value) or claims[name] != value:
            raise Refused(Reason.CLAIM_MISMATCH)


RULES: tuple[Callable[[Candidate], None], ...] = (
    form,
    algorithm,
    critical,
    type_,
    issuer,
    key,
    signature,
    dates,
    audience,
    other_claims,
    sender,
    required_claims,
)
"""All of them. Whoever changes the order changes what strangers are told."""


def _is_date(value: Any) -> bool:
    """A ``NumericDate``: finite, no boolean, and of a size that floats hold exactly (RFC 7519, section 2)."""
    return type(value) in (int, float) and abs(value) < MAX_DATE
