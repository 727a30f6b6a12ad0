"""Audiences and scopes: what a setting or a route asks of the claims."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ANY = "*"
"""Alone, in place of audiences: the audience is not checked."""

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@*\s]+/(?:[^?#*\s]*/)?\*")


class BadAudience(ValueError):
    """An audience setting that cannot be meant. Its text says what to write instead."""


@dataclass(frozen=True)
class Audiences:
    """The accepted values of ``aud``: exact ones, and prefixes that end in ``/``.

    A prefix names a whole host at least, and ends on a slash, so that ``https://gw.example/*`` takes neither
    ``https://gw.example.evil/`` nor ``https://gw.example@evil/``. Values are compared as they stand, in the same case:
    RFC 7519, section 2, knows no other comparison of ``StringOrURI``.
    """

    exact: frozenset[str]
    prefixes: tuple[str, ...]
    anything: bool = False

    @classmethod
    def of(cls, values: Iterable[str]) -> "Audiences":
        """Return the audiences that ``values`` name, as in ``JWT_AUDIENCE``; ``BadAudience`` where one cannot be."""
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
        """Whether one of a token's audiences is among these."""
        if self.anything:
            return True
        for one in audience:  # noqa: SIM110  # for each request: a generator costs more than what it does
            if one in self.exact or one.startswith(self.prefixes):
                return True
        return False


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
