"""The reasons to reject a token: a closed list, for logs, metrics and responses."""

from enum import Enum


class Reason(str, Enum):
    """A reason to reject a token, roughly in the order of the checks."""

    NO_TOKEN = "no_token"  # noqa: S105  # not a password
    SEVERAL_TOKENS = "several_tokens"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    CRITICAL_HEADER = "critical_header"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_ISSUER = "unknown_issuer"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUED_IN_FUTURE = "issued_in_future"
    WRONG_AUDIENCE = "wrong_audience"
    MISSING_CLAIM = "missing_claim"
    INVALID_CLAIM = "invalid_claim"
    CLAIM_MISMATCH = "claim_mismatch"
    SENDER_CONSTRAINED = "sender_constrained"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    KEYS_UNAVAILABLE = "keys_unavailable"


class Rejected(Exception):
    """A token that is not accepted, with the ``reason``.

    ``issuer`` is the token's issuer if it is a trusted one. ``kid`` is the key id in the token: text of an untrusted
    client, which must be cleaned before it is logged. ``retry_after`` is in seconds, for ``KEYS_UNAVAILABLE`` only.
    """

    def __init__(
        self, reason: Reason, *, issuer: str | None = None, kid: str | None = None, retry_after: int = 1
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.issuer = issuer
        self.kid = kid
        self.retry_after = retry_after
