"""The claims that the origin requires, as the gateway copies them from a consumer's metadata into the token."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from zuplo_origin.jwt.claims import parse_required
from zuplo_origin.openapi.description import Operation

REGISTERED = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
"""The gateway sets these itself (RFC 7519, section 4.1): metadata must not replace them."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Requirement:
    """A claim that a token must have: its name or dotted path, and the accepted value (see ``claims.holds``).

    That of a model of claims has a ``field``, as in ``Caller.tenant``, which validates the value. Its name is no path.
    """

    path: str
    accepted: Any = ()
    field: str | None = None
    is_required: bool = True

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
        if self.field is not None or "/" in self.path or ":" in self.path:
            return self.path
        return self.path.partition(".")[0] or self.path

    @property
    def values(self) -> str:
        """The accepted values in words, in Markdown."""
        if self.field is not None:
            return f"a value for `{self.field}`{'' if self.is_required else '; may be absent'}"
        if self.accepted == ():
            return "any value"
        if isinstance(self.accepted, tuple):
            return f"{' or '.join(map(_code, self.accepted))}, or a list with one of them"
        return f"{_code(self.accepted)}{', or a list with it' if isinstance(self.accepted, str) else ''}"


def requirements_of(operation: Operation) -> list[Requirement]:
    """Return the claims that a route requires with ``claims:``, and those that its action takes as ``Claims``."""
    found = [each for text in operation.claims or () if (each := Requirement.of(text)) is not None]
    if operation.caller:
        from zuplo_origin.claims import Claims  # imports pydantic

        found += [each for model in operation.caller if issubclass(model, Claims) for each in _of_model(model)]
    return found


def _of_model(model: Any) -> Iterator[Requirement]:
    """Yield the claims that the fields of a model of claims are read from."""
    for name, field in model.model_fields.items():
        alias = field.validation_alias or name  # a name, a path, or a choice of these
        choices = getattr(alias, "choices", [alias])
        for each in choices:
            claim = each if isinstance(each, str) else str(each.path[0])
            yield Requirement(claim, (), f"{model.__name__}.{name}", field.is_required() and len(choices) == 1)


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def selectors(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Return the claims to copy, each with its selector in the caller of the gateway, as in ``data.tenant``."""
    claims = dict.fromkeys(each.claim for each in requirements if each.claim not in REGISTERED)
    return {claim: f"data.{claim}" if _IDENTIFIER.fullmatch(claim) else f'data["{claim}"]' for claim in claims}


def metadata(requirements: Iterable[Requirement], scope_claim: str, scopes: list[str]) -> dict[str, Any]:
    """Return an example of the metadata of a consumer that meets the requirements, and has scopes."""
    example: dict[str, Any] = {}
    usual = [
        Requirement(scope_claim, " ".join(scopes or ["read:orders", "write:orders"])),
        Requirement("roles", ["admin"]),
    ]
    for each in (*usual, *requirements):
        if each.claim in REGISTERED or not each.is_required:
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
    return "\n".join(["| claim | value | read by |", "|---|---|---|", *lines]) if lines else ""
