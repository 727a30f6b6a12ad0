"""What the guard needs to know, gathered once."""

from dataclasses import dataclass

from app.jwt.TokenVerifier import TokenVerifier


@dataclass(frozen=True)
class Guard:
    """Bound to the container as ``guard``: the verifier, the header it reads, and the words of its challenges.

    ``header`` is the WSGI key; ``scheme`` is empty for a bare token; ``resource_metadata`` is a URL (RFC 9728).
    """

    verifier: TokenVerifier
    header: str
    scheme: str
    realm: str
    resource_metadata: str | None = None
