"""What a token allows: its scopes (RFC 6749, section 3.3; RFC 9068, section 2.2.3)."""

from collections.abc import Mapping
from typing import Any


def scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes in ``scope``, a string with blanks, and in ``scp``, a string or a list of strings.

    A member of another type grants nothing.
    """
    granted: set[str] = set()
    for value in (claims.get("scope"), claims.get("scp")):
        if isinstance(value, str):
            granted.update(value.split(" "))
    listed = claims.get("scp")
    if isinstance(listed, list):
        granted.update(scope for scope in listed if isinstance(scope, str))
    granted.discard("")
    return frozenset(granted)


def has_scopes(claims: Mapping[str, Any], *scopes: str) -> bool:
    """Whether ``claims`` grant all of ``scopes``: ``has_scopes(request.user(), "read:orders")``."""
    return scopes_of(claims).issuperset(scopes)
