"""The secret that the gateway sends with every request, beside the token (``GATEWAY_SECRET``)."""

from collections.abc import Sequence
from enum import Enum
from hmac import compare_digest
from typing import Any, NamedTuple

HEALTH = ("/health/live", "/health/ready")
"""Paths that need no secret: probes do not pass the gateway."""


class GatewayReason(str, Enum):
    """The reason to reject a request, for the log and the metrics."""

    NOT_FROM_GATEWAY = "not_from_gateway"


class NotFromGateway(NamedTuple):
    """A rejected request, with the fields that the log reads of a rejected token."""

    reason: GatewayReason = GatewayReason.NOT_FROM_GATEWAY
    issuer: None = None
    kid: None = None


class Gateway:
    """Accepts requests that carry one of ``secrets`` in ``header``. There are two secrets while one is replaced."""

    def __init__(self, secrets: Sequence[str], header: str) -> None:
        self.header = header
        self._secrets = [secret.encode() for secret in secrets]
        self._key = "HTTP_" + header.upper().replace("-", "_")

    def accepts(self, request: Any) -> bool:
        """Return whether ``request`` has the secret, or needs none. The log reads why it is rejected.

        Servers join headers of one name with commas. No secret contains one, so a secret that is sent twice is none.
        """
        sent = request.environ.get(self._key, "").encode("latin-1", "replace")
        matches = [compare_digest(sent, secret) for secret in self._secrets]  # all of them: the time says nothing
        if any(matches) or request.environ.get("PATH_INFO") in HEALTH:
            return True
        request.rejected = NotFromGateway()
        return False
