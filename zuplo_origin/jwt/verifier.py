"""Parse a compact JWS, apply the rules in order, and return the claims."""

import marshal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from zuplo_origin.encoding import decode_base64url, has_nonfinite, load_json

from .cache import Verified, VerifiedTokens
from .claims import MISSING, Audiences, claim_at, holds
from .reasons import Reason, Rejected

MAX_LENGTH = 8192
"""Characters of a token: the default of ``JWT_MAX_BYTES``."""
SHORT_HEADER = 512
"""Characters of a token's first segment. The parsed headers of longer segments are not cached."""


class Token(NamedTuple):
    """The parts of a token, not verified yet."""

    header: Mapping[str, Any]
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def parse(text: str, longest: int = MAX_LENGTH) -> Token:
    """Return the parts of ``text``, of at most ``longest`` characters.

    It must have three segments of canonical base64url; header and payload must be JSON objects in UTF-8 without
    duplicate names. Raises ``Rejected`` with ``TOO_LARGE`` or ``MALFORMED``.
    """
    if len(text) > longest:
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
        raise ValueError("not an object")
    return MappingProxyType(header)


_header = lru_cache(maxsize=256)(_read_header)
"""All tokens of one key have the same header: it is parsed once, and the result is shared and read-only."""


TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""RFC 7519, section 5.1; RFC 9068, section 2.1."""
MAX_DATE = 2**53
"""From here on, floats cannot represent every integer (RFC 7493, section 2.2)."""

_DATES = ("exp", "nbf", "iat")
_STRINGS = ("sub", "jti")


class PublicKey(Protocol):
    """A public key with its algorithm."""

    def verify(self, msg: bytes, sig: bytes) -> bool: ...


class KeySource(Protocol):
    """The keys of one issuer."""

    def find(self, kid: str | None, algorithm: str, tried: tuple[Any, ...] = ()) -> Sequence[PublicKey]:
        """Return the keys that fit ``kid`` and ``algorithm``, without those ``tried``; none if there are none.

        ``tried`` are keys that have not signed the token: the source may fetch newer ones.
        """

    def generation(self) -> int | None:
        """Return a number that changes when the keys change; ``None`` while there are none to use."""


@dataclass(frozen=True)
class Issuer:
    """A trusted issuer and the requirements for its tokens. ``leeway`` is in seconds.

    ``algorithms`` are all accepted values of ``alg``.
    """

    name: str
    algorithms: frozenset[str]
    audiences: Audiences
    required_claims: Mapping[str, Any]
    leeway: float
    keys: KeySource


class Candidate:
    """A token to verify. The rules set its attributes, each from those that earlier rules have set.

    ``algorithms`` are those that at least one of the ``issuers`` may use; ``now`` is in seconds since the epoch;
    ``longest`` is the limit of a token's characters.
    """

    token: Token
    algorithm: str
    issuer: Issuer | None = None
    kid: str | None = None
    generation: int | None = None
    keys: Sequence[PublicKey]

    def __init__(
        self,
        text: str,
        issuers: Mapping[str, Issuer],
        algorithms: frozenset[str],
        now: float,
        longest: int = MAX_LENGTH,
    ) -> None:
        self.text, self.longest = text, longest
        self.issuers = issuers
        self.algorithms = algorithms
        self.now = now

    @property
    def trusted_issuer(self) -> Issuer:
        """Return the issuer that ``check_issuer`` has set."""
        if self.issuer is None:
            raise LookupError("the issuer has not been checked yet")
        return self.issuer


def check_form(candidate: Candidate) -> None:
    """Require three segments of base64url with JSON, and a limited length (RFC 7515, 7.1; RFC 7519, 7.2)."""
    candidate.token = parse(candidate.text, candidate.longest)


def check_algorithm(candidate: Candidate) -> None:
    """Require an ``alg`` that at least one issuer may use (RFC 7515, section 4.1.1; RFC 8725, section 3.1)."""
    name = candidate.token.header.get("alg")
    if not isinstance(name, str) or name not in candidate.algorithms:
        raise Rejected(Reason.ALGORITHM_NOT_ALLOWED)
    candidate.algorithm = name


def check_critical(candidate: Candidate) -> None:
    """Reject ``crit``: no extension is supported (RFC 7515, section 4.1.11)."""
    if "crit" in candidate.token.header:
        raise Rejected(Reason.CRITICAL_HEADER)


def check_type(candidate: Candidate) -> None:
    """Require no ``typ``, or that of an access token (RFC 8725, section 3.11; RFC 9068, section 4)."""
    header = candidate.token.header
    if "typ" in header and (not isinstance(header["typ"], str) or header["typ"].lower() not in TYPES):
        raise Rejected(Reason.WRONG_TYPE)


def check_issuer(candidate: Candidate) -> None:
    """Require a trusted ``iss`` that may use the algorithm (RFC 7519, section 4.1.1; RFC 8725, section 3.8)."""
    name = candidate.token.claims.get("iss")
    found = candidate.issuers.get(name) if isinstance(name, str) else None
    if found is None:
        raise Rejected(Reason.UNKNOWN_ISSUER)
    candidate.issuer = found
    if candidate.algorithm not in found.algorithms:
        raise Rejected(Reason.ALGORITHM_NOT_ALLOWED)


def check_key(candidate: Candidate) -> None:
    """Require a key of the issuer that fits; ignore keys in the token (RFC 7515, sections 4.1.4 and 6)."""
    header = candidate.token.header
    if "kid" in header and not isinstance(header["kid"], str):
        raise Rejected(Reason.MALFORMED)
    candidate.kid = header.get("kid")
    keys = candidate.trusted_issuer.keys
    candidate.generation = keys.generation()  # before the lookup: a rotation in between must not be missed
    found = keys.find(candidate.kid, candidate.algorithm)
    if not found:
        raise Rejected(Reason.UNKNOWN_KEY)
    candidate.keys = found


def check_signature(candidate: Candidate) -> None:
    """Verify the signature with one of those keys (RFC 7515, section 5.2), or with one that has replaced them."""
    if _is_signed(candidate, candidate.keys):
        return
    source, tried = candidate.trusted_issuer.keys, tuple(candidate.keys)
    candidate.generation = source.generation()
    newer = source.find(candidate.kid, candidate.algorithm, tried)
    if not newer or not _is_signed(candidate, newer):
        raise Rejected(Reason.BAD_SIGNATURE)


def _is_signed(candidate: Candidate, keys: Sequence[PublicKey]) -> bool:
    token = candidate.token
    for key in keys:  # noqa: SIM110  # once for each request: any() with a generator is slower
        if key.verify(token.signing_input, token.signature):
            return True
    return False


def check_dates(candidate: Candidate) -> None:
    """Require ``exp`` in the future; ``nbf`` and ``iat``, if present, in the past (RFC 7519, 4.1.4 to 4.1.6)."""
    claims, leeway, now = candidate.token.claims, candidate.trusted_issuer.leeway, candidate.now
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


def check_audience(candidate: Candidate) -> None:
    """Require an accepted ``aud`` (RFC 7519, section 4.1.3; RFC 8725, section 3.9)."""
    claims, audiences = candidate.token.claims, candidate.trusted_issuer.audiences
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


def check_other_claims(candidate: Candidate) -> None:
    """Require strings for ``sub`` and ``jti`` (RFC 7519, 4.1.2 and 4.1.7), and numbers that JSON can represent."""
    claims = candidate.token.claims
    for name in _STRINGS:
        if name in claims and not isinstance(claims[name], str):
            raise Rejected(Reason.INVALID_CLAIM)
    if has_nonfinite(claims):
        raise Rejected(Reason.INVALID_CLAIM)


def check_sender_constraint(candidate: Candidate) -> None:
    """Reject ``cnf``: the proof of possession that it requires is not supported (RFC 7800, section 3.1)."""
    if "cnf" in candidate.token.claims:
        raise Rejected(Reason.SENDER_CONSTRAINED)


def check_required_claims(candidate: Candidate) -> None:
    """Require each required claim, with one of the accepted values, of the same type, or in a list."""
    for name, accepted in candidate.trusted_issuer.required_claims.items():
        claim = claim_at(candidate.token.claims, name)
        if claim is MISSING:
            raise Rejected(Reason.MISSING_CLAIM)
        if not holds(claim, accepted):
            raise Rejected(Reason.CLAIM_MISMATCH)


RULES: tuple[Callable[[Candidate], None], ...] = (
    check_form,
    check_algorithm,
    check_critical,
    check_type,
    check_issuer,
    check_key,
    check_signature,
    check_dates,
    check_audience,
    check_other_claims,
    check_sender_constraint,
    check_required_claims,
)
"""The rules in the order of their checks. The first failed rule is the reason that the client receives."""


def _is_date(value: Any) -> bool:
    """Return whether ``value`` is a ``NumericDate`` that floats represent exactly (RFC 7519, section 2)."""
    return type(value) in (int, float) and abs(value) < MAX_DATE


class TokenObserver(Protocol):
    """An observer of accepted tokens."""

    def verified(self, algorithm: str, seconds: float) -> None:
        """Note that a token was verified, and the time that it took."""

    def looked_up(self, hit: bool) -> None:
        """Note a lookup in the cache of verified tokens."""


class TokenVerifier:
    """Verifies tokens of the ``issuers``. ``clock`` is in seconds since the epoch, ``max_length`` in characters.

    Up to ``cache_size`` verified tokens are cached. For a cached token, only the dates are checked again. A change of
    an issuer's keys invalidates its cached tokens.
    """

    def __init__(
        self,
        issuers: Iterable[Issuer],
        clock: Callable[[], float] = time.time,
        cache_size: int = 0,
        observer: TokenObserver | None = None,
        max_length: int = MAX_LENGTH,
    ) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._algorithms = frozenset(name for issuer in self._issuers.values() for name in issuer.algorithms)
        self._clock = clock
        self._verified = VerifiedTokens(cache_size, clock)
        self._observer = observer
        self.max_length = max_length

    def candidate(self, text: str) -> Candidate:
        """Return the token ``text`` as a candidate that no rule has checked yet."""
        return Candidate(text, self._issuers, self._algorithms, self._clock(), self.max_length)

    def verify(self, text: str) -> dict[str, Any]:
        """Return the claims of the token ``text``, after checking every rule in ``RULES``.

        Raises ``Rejected`` with the reason, and the exception that the issuer's ``KeySource`` raises without keys.
        """
        candidate, began = self.candidate(text), time.perf_counter()
        try:
            cached = self._load_cached(candidate)
            if self._observer is not None:
                self._observer.looked_up(cached)
            if cached:
                check_dates(candidate)
                return candidate.token.claims
            for rule in RULES:
                rule(candidate)
        except Rejected as rejected:
            if candidate.issuer is not None:
                rejected.issuer, rejected.kid = candidate.issuer.name, candidate.kid
            raise
        if self._observer is not None:
            self._observer.verified(candidate.algorithm, time.perf_counter() - began)
        if candidate.generation is not None and self._verified.is_repeated(text):
            self._cache(candidate, candidate.generation)
        return candidate.token.claims

    def _load_cached(self, candidate: Candidate) -> bool:
        """Set issuer and claims from the cache. Return ``False`` if the token is not cached for the current keys."""
        cached = self._verified.get(candidate.text)
        if cached is None:
            return False
        issuer = self._issuers[cached.issuer]
        if issuer.keys.generation() != cached.generation:
            return False
        candidate.issuer = issuer
        # marshal is four times as fast as JSON; its input was written by this process, in _cache
        candidate.token = Token({}, marshal.loads(cached.claims), b"", b"")  # noqa: S302
        return True

    def _cache(self, candidate: Candidate, generation: int) -> None:
        claims = candidate.token.claims
        self._verified.put(candidate.text, Verified(claims["iss"], generation, marshal.dumps(claims), claims["exp"]))
