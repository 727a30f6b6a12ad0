"""Whether a token is let in."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from .reasons import Refused
from .rules import RULES, Candidate, Issuer


class TokenVerifier:
    """Checks tokens of the ``issuers``. ``clock`` gives seconds since the epoch."""

    def __init__(self, issuers: Iterable[Issuer], clock: Callable[[], float] = time.time) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._clock = clock

    def verify(self, text: str) -> dict[str, Any]:
        """Return the claims of the token ``text``, verified by every rule in ``RULES``.

        Raises ``Refused`` with the reason. What the issuer's keys raise where none can be had goes through.
        """
        candidate = Candidate(text, self._issuers, self._clock())
        try:
            for rule in RULES:
                rule(candidate)
        except Refused as refused:
            if hasattr(candidate, "issuer"):
                refused.issuer, refused.kid = candidate.issuer.name, candidate.kid
            raise
        return candidate.token.claims
