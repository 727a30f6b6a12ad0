"""Audiences and scopes: the claims that settings and routes require."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ANY = "*"
"""The only audience in a list: the audience is not checked."""

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@*\s]+/(?:[^?#*\s]*/)?\*")


class BadAudience(ValueError):
    """An invalid audience setting. Its text is the correction."""


@dataclass(frozen=True)
class Audiences:
    """The accepted values of ``aud``: exact ones, and prefixes that end in ``/``.

    A prefix has at least a whole host, and ends in a slash, so that ``https://gw.example/*`` matches neither
    ``https://gw.example.evil/`` nor ``https://gw.example@evil/``. Values are compared without any normalization, and
    case-sensitively (RFC 7519, section 2: ``StringOrURI``).
    """

    exact: frozenset[str]
    prefixes: tuple[str, ...]
    anything: bool = False

    @classmethod
    def of(cls, values: Iterable[str]) -> "Audiences":
        """Return the audiences in ``values``, written as in ``JWT_AUDIENCE``. Raises ``BadAudience``."""
        values = list(values)
        if values == [ANY]:
            return cls(frozenset(), (), anything=True)
        exact, prefixes = set(), []
        for value in values:
            if value == ANY:
                raise BadAudience("'*' stands alone: it says that the audience is not checked")
            if "*" not in value:
                exact.add(value)
            elif _PREFIX.fullmatch(value):
                prefixes.append(value[:-1])
            else:
                raise BadAudience("a prefix is a scheme, a whole host and whole parts of a path: https://host/path/*")
        return cls(frozenset(exact), tuple(prefixes))

    def accept(self, audience: list[str]) -> bool:
        """Return whether one of a token's audiences is accepted."""
        if self.anything:
            return True
        for one in audience:  # noqa: SIM110  # once for each request: any() with a generator is slower
            if one in self.exact or one.startswith(self.prefixes):
                return True
        return False


def scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes in ``scope``, a string separated by spaces, and in ``scp``, such a string or a list of strings.

    Values of other types are ignored.
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
    """Return whether ``claims`` grant all of ``scopes``: ``has_scopes(request.user(), "read:orders")``."""
    return scopes_of(claims).issuperset(scopes)
