"""Audiences and scopes: the claims that settings and routes require."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from zuplo_origin.encoding import member_at

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
                raise BadAudience("'*' alone, or values without it")
            if "*" not in value:
                exact.add(value)
            elif _PREFIX.fullmatch(value):
                prefixes.append(value[:-1])
            else:
                raise BadAudience("a prefix with a whole host and whole parts of a path, as in https://host/path/*")
        return cls(frozenset(exact), tuple(prefixes))

    def accept(self, audience: list[str]) -> bool:
        """Return whether one of a token's audiences is accepted."""
        if self.anything:
            return True
        for one in audience:  # noqa: SIM110  # once for each request: any() with a generator is slower
            if one in self.exact or one.startswith(self.prefixes):
                return True
        return False


def is_string_or_uri(text: str) -> bool:
    """Return whether ``text`` can be an ``iss``: no control characters, no white space but spaces (RFC 7519, 2)."""
    return text.isprintable()


MISSING: Any = object()
"""The value of a claim that a token does not have."""
SCOPE_CLAIMS = ("scope", "scp")
"""The default of ``JWT_SCOPE_CLAIMS``: the claims in which scopes are looked up."""


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim named ``path``, or what is at the dotted ``path`` (``realm_access.roles``), or ``MISSING``.

    A name is looked up as a whole first: names of claims can be URLs. The name of a member on the path may have dots
    too, as that of a client in ``resource_access.my.client.roles``; if several readings fit, the one with the
    shortest names is used.
    """
    return member_at(claims, path, MISSING)


@lru_cache(maxsize=256)
def parse_required(text: str) -> tuple[str, Any]:
    """Return the claim that ``text`` requires, and its accepted value: see ``holds``.

    ``sub`` (present), ``account=acme`` (this string), ``role=admin|owner`` (one of them), ``email_verified:=true``
    (this JSON value). Raises ``ValueError`` for anything else.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not name or name == ":" or (equals and not value):
        raise ValueError(f"{text!r} is not name, name=value, name=one|other or name:=JSON")
    if not equals:
        return name, ()
    if name.endswith(":"):
        return name[:-1].strip(), json.loads(value)
    values = tuple(each.strip() for each in value.split("|"))
    if not all(values):
        raise ValueError(f"{text!r} is not name, name=value, name=one|other or name:=JSON")
    return name, values if len(values) > 1 else values[0]


def holds(claim: Any, accepted: Any) -> bool:
    """Return whether ``claim`` is the ``accepted`` value, with its type, or a list that contains this string.

    A tuple has several accepted values; an empty one accepts any.
    """
    if accepted == ():
        return True
    return any(_is(claim, value) for value in (accepted if isinstance(accepted, tuple) else (accepted,)))


def _is(claim: Any, value: Any) -> bool:
    if isinstance(value, str):
        return claim == value or (isinstance(claim, list) and value in claim)
    # as JSON: in Python, True == 1 == 1.0, also inside of lists and objects
    return json.dumps(claim, sort_keys=True) == json.dumps(value, sort_keys=True)


def meets(claims: Mapping[str, Any], requirement: str) -> bool:
    """Return whether ``claims`` meet a requirement that is written as in ``JWT_REQUIRED_CLAIMS``."""
    name, accepted = parse_required(requirement)
    claim = claim_at(claims, name)
    return claim is not MISSING and holds(claim, accepted)


def scopes_of(claims: Mapping[str, Any], names: Iterable[str] = SCOPE_CLAIMS) -> frozenset[str]:
    """Return the scopes in the claims ``names``: strings separated by spaces, or lists of strings.

    A string in a list is one scope, even with spaces in it. Values of other types are ignored, in lists too. Scopes are
    compared exactly: in case, and character by character, without Unicode normalization (RFC 6749, section 3.3).
    """
    granted: set[str] = set()
    for name in names:
        value = claim_at(claims, name)
        if isinstance(value, str):
            granted.update(value.split(" "))
        elif isinstance(value, list):
            granted.update(scope for scope in value if isinstance(scope, str))
    granted.discard("")
    return frozenset(granted)


_SCOPE = re.compile(r"[!#-\[\]-~]+")
"""RFC 6749, section 3.3."""


def is_scope(text: str) -> bool:
    """Return whether ``text`` can be the name of a scope: printable ASCII without spaces, quotes and backslashes."""
    return _SCOPE.fullmatch(text) is not None


def has_scopes(claims: Mapping[str, Any], *scopes: str, names: Iterable[str] = SCOPE_CLAIMS) -> bool:
    """Return whether ``claims`` grant all of ``scopes``: ``has_scopes(request.user(), "read:orders")``."""
    return scopes_of(claims, names).issuperset(scopes)
