"""Parse a compact JWS, apply the rules in order, and return the claims."""

import marshal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from zuplo_origin.encoding import decode_base64url, has_nonfinite, load_json

from .cache import Verified, VerifiedTokens
from .claims import Audiences
from .reasons import Reason, Rejected

MAX_LENGTH = 8192
"""Characters of a token."""
SHORT_HEADER = 512
"""Characters of a token's first segment, up to which what it says is remembered."""


class Token(NamedTuple):
    """A token's parts. Nothing is known of their truth yet."""

    header: Mapping[str, Any]
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def parse(text: str) -> Token:
    """Return the parts of ``text``.

    Three segments of canonical base64url, header and payload JSON objects in UTF-8 with each member named once. Raises
    ``Rejected``: ``TOO_LARGE`` or ``MALFORMED``.
    """
    if len(text) > MAX_LENGTH:
        raise Rejected(Reason.TOO_LARGE)
    segments = text.split(".")
    if len(segments) != 3:
        raise Rejected(Reason.MALFORMED)
    try:
        header = _header(segments[0]) if len(segments[0]) <= SHORT_HEADER else _read_header(segments[0])
        claims, signature = load_json(decode_base64url(segments[1])), decode_base64url(segments[2])
    except ValueError:
        raise Rejected(Reason.MALFORMED) from None
    if not isinstance(claims, dict):
        raise Rejected(Reason.MALFORMED)
    return Token(header, claims, text[: text.rindex(".")].encode("ascii"), signature)


def _read_header(segment: str) -> Mapping[str, Any]:
    header = load_json(decode_base64url(segment))
    if not isinstance(header, dict):
        raise ValueError("no object")
    return MappingProxyType(header)


_header = lru_cache(maxsize=256)(_read_header)
"""All tokens of one key begin with the same header: it is read once, and what it says is shared, and never changed."""


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
        raise Rejected(Reason.ALGORITHM_NOT_ALLOWED)
    candidate.algorithm = name


def critical(candidate: Candidate) -> None:
    """There is no ``crit``: no extension is understood here (RFC 7515, section 4.1.11)."""
    if "crit" in candidate.token.header:
        raise Rejected(Reason.CRITICAL_HEADER)


def type_(candidate: Candidate) -> None:
    """``typ`` is absent, or an access token's (RFC 8725, section 3.11; RFC 9068, section 4)."""
    header = candidate.token.header
    if "typ" in header and (not isinstance(header["typ"], str) or header["typ"].lower() not in TYPES):
        raise Rejected(Reason.WRONG_TYPE)


def issuer(candidate: Candidate) -> None:
    """``iss`` is an accepted issuer, who may use the algorithm (RFC 7519, section 4.1.1; RFC 8725, section 3.8)."""
    name = candidate.token.claims.get("iss")
    found = candidate.issuers.get(name) if isinstance(name, str) else None
    if found is None:
        raise Rejected(Reason.UNKNOWN_ISSUER)
    candidate.issuer = found
    if candidate.algorithm not in found.algorithms:
        raise Rejected(Reason.ALGORITHM_NOT_ALLOWED)


def key(candidate: Candidate) -> None:
    """Exactly one key of that issuer fits; the token brings none itself (RFC 7515, sections 4.1.4 and 6)."""
    header = candidate.token.header
    if "kid" in header and not isinstance(header["kid"], str):
        raise Rejected(Reason.MALFORMED)
    candidate.kid = header.get("kid")
    keys = candidate.believed.keys
    candidate.generation = keys.generation()  # before the key is looked up: it may be withdrawn in between
    verifier = keys.find(candidate.kid, candidate.algorithm)
    if verifier is None:
        raise Rejected(Reason.UNKNOWN_KEY)
    candidate.verifier = verifier


def signature(candidate: Candidate) -> None:
    """The signature is that key's (RFC 7515, section 5.2)."""
    token = candidate.token
    if not candidate.verifier.verify(token.signing_input, token.signature):
        raise Rejected(Reason.BAD_SIGNATURE)


def dates(candidate: Candidate) -> None:
    """``exp`` is there and ahead; ``nbf`` and ``iat``, where they are, are behind (RFC 7519, 4.1.4 to 4.1.6)."""
    claims, leeway, now = candidate.token.claims, candidate.believed.leeway, candidate.now
    if "exp" not in claims:
        raise Rejected(Reason.MISSING_CLAIM)
    for name in _DATES:
        if name in claims and not _is_date(claims[name]):
            raise Rejected(Reason.INVALID_CLAIM)
    if now >= claims["exp"] + leeway:
        raise Rejected(Reason.EXPIRED)
    if "nbf" in claims and claims["nbf"] > now + leeway:
        raise Rejected(Reason.NOT_YET_VALID)
    if "iat" in claims and claims["iat"] > now + leeway:
        raise Rejected(Reason.ISSUED_IN_FUTURE)


def audience(candidate: Candidate) -> None:
    """``aud`` names this application (RFC 7519, section 4.1.3; RFC 8725, section 3.9)."""
    claims, audiences = candidate.token.claims, candidate.believed.audiences
    if "aud" not in claims:
        if audiences.anything:
            return
        raise Rejected(Reason.MISSING_CLAIM)
    named = claims["aud"]
    listed = named if isinstance(named, list) else [named]
    for one in listed:
        if not isinstance(one, str):
            raise Rejected(Reason.INVALID_CLAIM)
    if not audiences.accept(listed):
        raise Rejected(Reason.WRONG_AUDIENCE)


def other_claims(candidate: Candidate) -> None:
    """``sub`` and ``jti`` are strings, and every number is one that JSON can hand on (RFC 7519, 4.1.2 and 4.1.7)."""
    claims = candidate.token.claims
    for name in _STRINGS:
        if name in claims and not isinstance(claims[name], str):
            raise Rejected(Reason.INVALID_CLAIM)
    if has_nonfinite(claims):
        raise Rejected(Reason.INVALID_CLAIM)


def sender(candidate: Candidate) -> None:
    """It is a bearer token: one bound to its sender proves nothing without the proof (RFC 7800, section 3.1)."""
    if "cnf" in candidate.token.claims:
        raise Rejected(Reason.SENDER_CONSTRAINED)


def required_claims(candidate: Candidate) -> None:
    """Each required claim holds its value, whole and of the same type."""
    claims = candidate.token.claims
    for name, value in candidate.believed.required_claims.items():
        if name not in claims:
            raise Rejected(Reason.MISSING_CLAIM)
        if type(claims[name]) is not type(value) or claims[name] != value:
            raise Rejected(Reason.CLAIM_MISMATCH)


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


class TokenObserver(Protocol):
    """Is told of tokens that are let in."""

    def verified(self, algorithm: str, seconds: float) -> None:
        """A token was verified, which took that long."""

    def looked_up(self, hit: bool) -> None:
        """A token was looked for among those that were verified before."""


class TokenVerifier:
    """Checks tokens of the ``issuers``. ``clock`` gives seconds since the epoch.

    Up to ``cache_size`` tokens that passed are remembered: their signature is not checked again, their dates are, and a
    change of their issuer's keys forgets them.
    """

    def __init__(
        self,
        issuers: Iterable[Issuer],
        clock: Callable[[], float] = time.time,
        cache_size: int = 0,
        observer: TokenObserver | None = None,
    ) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._algorithms = frozenset(name for issuer in self._issuers.values() for name in issuer.algorithms)
        self._clock = clock
        self._verified = VerifiedTokens(cache_size, clock)
        self._observer = observer

    def candidate(self, text: str) -> Candidate:
        """Return the token ``text`` at the start of its way through the rules."""
        return Candidate(text, self._issuers, self._algorithms, self._clock())

    def verify(self, text: str) -> dict[str, Any]:
        """Return the claims of the token ``text``, verified by every rule in ``RULES``.

        Raises ``Rejected`` with the reason. What the issuer's keys raise where none can be had goes through.
        """
        candidate, began = self.candidate(text), time.perf_counter()
        try:
            known = self._was_verified(candidate)
            if self._observer is not None:
                self._observer.looked_up(known)
            if known:
                dates(candidate)
                return candidate.token.claims
            for rule in RULES:
                rule(candidate)
        except Rejected as refused:
            if candidate.issuer is not None:
                refused.issuer, refused.kid = candidate.issuer.name, candidate.kid
            raise
        if self._observer is not None:
            self._observer.verified(candidate.algorithm, time.perf_counter() - began)
        if candidate.generation is not None and self._verified.comes_again(text):
            self._remember(candidate, candidate.generation)
        return candidate.token.claims

    def _was_verified(self, candidate: Candidate) -> bool:
        """Whether the token passed before, under the keys that its issuer has now; then take over what was found."""
        known = self._verified.get(candidate.text)
        if known is None:
            return False
        issuer = self._issuers[known.issuer]
        if issuer.keys.generation() != known.generation:
            return False
        candidate.issuer = issuer
        # marshal copies four times as fast as JSON does; what it reads here was written below, by this process
        candidate.token = Token({}, marshal.loads(known.claims), b"", b"")  # noqa: S302
        return True

    def _remember(self, candidate: Candidate, generation: int) -> None:
        claims = candidate.token.claims
        kept = Verified(claims["iss"], generation, marshal.dumps(claims), claims["exp"])
        self._verified.put(candidate.text, kept)
