"""Whether a token is let in."""

import marshal
import time
from collections.abc import Callable, Iterable
from typing import Any

from .Observer import Observer
from .parsing import Token
from .reasons import Refused
from .rules import RULES, Candidate, Issuer, dates
from .VerifiedTokens import Verified, VerifiedTokens


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
        observer: Observer | None = None,
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

        Raises ``Refused`` with the reason. What the issuer's keys raise where none can be had goes through.
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
        except Refused as refused:
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
