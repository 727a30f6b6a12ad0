"""Whether a token is let in."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from app.encoding import strict_json

from .parsing import Token
from .reasons import Refused
from .rules import RULES, Candidate, Issuer, dates
from .VerifiedTokens import Verified, VerifiedTokens


class TokenVerifier:
    """Checks tokens of the ``issuers``. ``clock`` gives seconds since the epoch.

    Up to ``cache_size`` tokens that passed are remembered: their signature is not checked again, their dates are, and a
    change of their issuer's keys forgets them.
    """

    def __init__(self, issuers: Iterable[Issuer], clock: Callable[[], float] = time.time, cache_size: int = 0) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._clock = clock
        self._verified = VerifiedTokens(cache_size, clock)

    def candidate(self, text: str) -> Candidate:
        """Return the token ``text`` at the start of its way through the rules."""
        return Candidate(text, self._issuers, self._clock())

    def verify(self, text: str) -> dict[str, Any]:
        """Return the claims of the token ``text``, verified by every rule in ``RULES``.

        Raises ``Refused`` with the reason. What the issuer's keys raise where none can be had goes through.
        """
        candidate = self.candidate(text)
        digest = self._verified.digest(text)
        try:
            if digest is not None and self._was_verified(digest, candidate):
                dates(candidate)
                return candidate.token.claims
            for rule in RULES:
                rule(candidate)
        except Refused as refused:
            if candidate.issuer is not None:
                refused.issuer, refused.kid = candidate.issuer.name, candidate.kid
            raise
        if digest is not None and candidate.generation is not None:
            self._remember(digest, candidate, candidate.generation)
        return candidate.token.claims

    def _was_verified(self, digest: bytes, candidate: Candidate) -> bool:
        """Whether the token passed before, under the keys that its issuer has now; then take over what was found."""
        known = self._verified.get(digest)
        if known is None:
            return False
        issuer = self._issuers[known.issuer]
        if issuer.keys.generation() != known.generation:
            return False
        candidate.issuer = issuer
        candidate.token = Token({}, strict_json.loads(known.payload), known.payload, b"", b"")
        return True

    def _remember(self, digest: bytes, candidate: Candidate, generation: int) -> None:
        claims = candidate.token.claims
        self._verified.put(digest, Verified(claims["iss"], generation, candidate.token.payload, claims["exp"]))
