"""The claims that the origin requires, as the gateway copies them from a consumer's metadata into the token."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from zuplo_origin.jwt.claims import parse_required

REGISTERED = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
"""The gateway sets these itself (RFC 7519, section 4.1): metadata must not replace them."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Requirement:
    """A claim that a token must have: its name or dotted path, and the accepted value (see ``claims.holds``)."""

    path: str
    accepted: Any = ()

    @classmethod
    def of(cls, text: str) -> "Requirement | None":
        """Return what ``text`` requires, written as in ``JWT_REQUIRED_CLAIMS``; ``None`` if it is written otherwise."""
        try:
            return cls(*parse_required(text))
        except ValueError:  # of a middleware that the project has registered as `claims`
            return None

    @property
    def claim(self) -> str:
        """The claim of the token: ``realm_access`` for ``realm_access.roles``. A URI has dots, and is no path."""
        if "/" in self.path or ":" in self.path:
            return self.path
        return self.path.partition(".")[0] or self.path

    @property
    def values(self) -> str:
        """The accepted values in words, in Markdown."""
        if self.accepted == ():
            return "any value"
        if isinstance(self.accepted, tuple):
            return f"{' or '.join(map(_code, self.accepted))}, or a list with one of them"
        return f"{_code(self.accepted)}{', or a list with it' if isinstance(self.accepted, str) else ''}"


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def selectors(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Return the claims to copy, each with its selector in the caller of the gateway, as in ``data.tenant``."""
    claims = dict.fromkeys(each.claim for each in requirements if each.claim not in REGISTERED)
    return {claim: f"data.{claim}" if _IDENTIFIER.fullmatch(claim) else f'data["{claim}"]' for claim in claims}


def metadata(requirements: Iterable[Requirement], scope_claim: str) -> dict[str, Any]:
    """Return an example of the metadata of a consumer that meets the requirements, and has scopes."""
    example: dict[str, Any] = {}
    granted = [Requirement(scope_claim, "read:orders write:orders"), Requirement("roles", ["admin"])]
    for each in (*granted, *requirements):
        if each.claim in REGISTERED:
            continue
        accepted = each.accepted[:1] if isinstance(each.accepted, tuple) else [each.accepted]
        value: Any = next(iter(accepted), "...")
        for name in reversed(each.path[len(each.claim) :].split(".")[1:]):
            value = {name: value}
        present = example.setdefault(each.claim, value)
        if isinstance(present, dict) and isinstance(value, dict):
            example[each.claim] = value | present
    return example


def table(required: Iterable[tuple[str, Requirement]]) -> str:
    """Return a Markdown table of the requirements, each with the routes that have it, by their names."""
    rows: dict[tuple[str, str], list[str]] = {}
    for route, each in required:
        if each.claim not in REGISTERED:
            rows.setdefault((each.path, each.values.replace("|", "\\|")), []).append(f"`{route}`")
    lines = [f"| `{path}` | {values} | {', '.join(routes)} |" for (path, values), routes in rows.items()]
    return "\n".join(["| claim | value | required by |", "|---|---|---|", *lines]) if lines else ""
