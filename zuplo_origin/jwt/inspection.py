"""A walk of a token through the rules, for people: what each found, and what it expected."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from . import verifier
from .claims import Audiences
from .reasons import Reason, Rejected
from .verifier import MAX_LENGTH, Candidate

LONGEST = 200
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class Finding:
    """What became of one rule. ``passed`` is ``None`` where it could not be tried for want of an earlier one."""

    rule: str
    passed: bool | None
    reason: Reason | None
    found: str
    expected: str


@dataclass(frozen=True)
class _Description:
    """How a rule is told. ``needs`` names what of the candidate it looks at."""

    rule: str
    found: Callable[[Candidate], Any]
    expected: Callable[[Candidate], Any]
    needs: tuple[str, ...] = ("token",)


def inspect(candidate: Candidate, unavailable: type[Exception]) -> Iterator[Finding]:
    """Yield a finding for each rule, by trying the rule itself: on past the first that fails, as far as that goes.

    ``unavailable`` is what the issuer's keys raise where none can be had. Values are as the token spells them, on one
    line of ASCII; the signature is not among them.
    """
    for rule in verifier.RULES:
        described = DESCRIPTIONS[rule]
        if any(getattr(candidate, name, None) is None for name in described.needs):
            yield Finding(described.rule, None, None, "not reached", "")
            continue
        reason: Reason | None = None
        try:
            rule(candidate)
        except Rejected as refused:
            reason = refused.reason
        except unavailable:
            reason = Reason.KEYS_UNAVAILABLE
        found, expected = described.found(candidate), described.expected(candidate)
        yield Finding(described.rule, reason is None, reason, _shown(found), str(expected))


def _shown(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else json.dumps(value)[1:-1]
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _header(name: str) -> Callable[[Candidate], Any]:
    return lambda candidate: {name: candidate.token.header[name]} if name in candidate.token.header else f"no {name}"


def _claims(*names: str) -> Callable[[Candidate], Any]:
    def found(candidate: Candidate) -> Any:
        claims = candidate.token.claims
        return {name: claims[name] for name in names if name in claims} or f"no {' and no '.join(names)}"

    return found


def _dates(candidate: Candidate) -> Any:
    claims = candidate.token.claims
    return {name: _date(claims[name]) for name in ("exp", "nbf", "iat") if name in claims} or "no exp"


def _date(value: Any) -> Any:
    try:
        told = datetime.fromtimestamp(value, timezone.utc).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return value
    return f"{value} ({told})"


def _audiences(audiences: Audiences) -> str:
    if audiences.anything:
        return "any"
    return ", ".join([*sorted(audiences.exact), *(f"{prefix}*" for prefix in audiences.prefixes)])


def _algorithms(candidate: Candidate) -> str:
    return ", ".join(sorted(candidate.algorithms))


DESCRIPTIONS: dict[Callable[[Candidate], None], _Description] = {
    verifier.form: _Description(
        "form",
        lambda c: f"{len(c.text)} characters, {c.text.count('.') + 1} segments",
        lambda c: f"3 segments of base64url, {MAX_LENGTH} characters at most, with JSON objects inside",
        needs=(),
    ),
    verifier.algorithm: _Description("algorithm", _header("alg"), _algorithms),
    verifier.critical: _Description("critical", _header("crit"), lambda c: "no crit"),
    verifier.type_: _Description("type", _header("typ"), lambda c: "no typ, JWT or at+jwt"),
    verifier.issuer: _Description(
        "issuer",
        _claims("iss"),
        lambda c: f"{', '.join(c.issuers)}; signing with an algorithm of its own list",
        needs=("token", "algorithm"),
    ),
    verifier.key: _Description(
        "key",
        _header("kid"),
        lambda c: f"exactly one key of the issuer's, for {c.algorithm}",
        needs=("token", "algorithm", "issuer"),
    ),
    verifier.signature: _Description(
        "signature",
        lambda c: f"{len(c.token.signature)} bytes",
        lambda c: "made with that key",
        needs=("token", "verifier"),
    ),
    verifier.dates: _Description(
        "dates",
        _dates,
        lambda c: f"exp after, nbf and iat before {_date(int(c.now))}, within {c.believed.leeway:g} s",
        needs=("token", "issuer"),
    ),
    verifier.audience: _Description(
        "audience", _claims("aud"), lambda c: _audiences(c.believed.audiences), needs=("token", "issuer")
    ),
    verifier.other_claims: _Description(
        "other claims", _claims("sub", "jti"), lambda c: "strings where they are; no number too large"
    ),
    verifier.sender: _Description("sender", _claims("cnf"), lambda c: "no cnf: a bearer token"),
    verifier.required_claims: _Description(
        "required claims",
        lambda c: _claims(*c.believed.required_claims)(c) if c.believed.required_claims else "",
        lambda c: json.dumps(dict(c.believed.required_claims)) if c.believed.required_claims else "none",
        needs=("token", "issuer"),
    ),
}
