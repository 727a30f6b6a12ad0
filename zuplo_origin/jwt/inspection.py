"""The result of each rule for one token, for people: the found and the expected value."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from . import verifier
from .advice import advise
from .claims import MISSING, Audiences, claim_at, meets, parse_required, scopes_of
from .reasons import Reason, Rejected
from .verifier import Candidate

LONGEST = 200
"""Characters of a shown value; longer ones are cut."""


@dataclass(frozen=True)
class RuleResult:
    """The result of one rule. ``passed`` is ``None`` if the rule needs the result of an earlier one that failed.

    ``advice`` is a likely cause of a failure; it is empty if none is known.
    """

    rule: str
    passed: bool | None
    reason: Reason | None
    found: str
    expected: str
    advice: str = ""


@dataclass(frozen=True)
class _Description:
    """The parts of a ``RuleResult``. ``needs`` are the attributes of the candidate that the rule reads."""

    rule: str
    found: Callable[[Candidate], Any]
    expected: Callable[[Candidate], Any]
    needs: tuple[str, ...] = ("token",)


def no_explanation(candidate: Candidate) -> str:
    """Explain nothing."""
    return ""


def inspect(
    candidate: Candidate,
    unavailable: type[Exception],
    explain_key: Callable[[Candidate], str] = no_explanation,
) -> Iterator[RuleResult]:
    """Yield the result of each rule of the verifier, after a failed rule too.

    ``unavailable`` is the exception that the issuer's ``KeySource`` raises without keys. ``explain_key`` returns why no
    key fits, or why there are none. Values are shown as JSON, on one line of ASCII. The signature is not shown.
    """
    for rule in verifier.RULES:
        described = DESCRIPTIONS[rule]
        if any(getattr(candidate, name, None) is None for name in described.needs):
            yield RuleResult(described.rule, None, None, "not reached", "")
            continue
        reason: Reason | None = None
        try:
            rule(candidate)
        except Rejected as rejected:
            reason = rejected.reason
        except unavailable:
            reason = Reason.KEYS_UNAVAILABLE
        found, expected = described.found(candidate), described.expected(candidate)
        advice = advise(rule, candidate, reason) if reason is not None else ""
        if reason in (Reason.UNKNOWN_KEY, Reason.KEYS_UNAVAILABLE):
            advice = explain_key(candidate)
        yield RuleResult(described.rule, reason is None, reason, shown(found), str(expected), _plain(advice))


def inspect_scopes(claims: Mapping[str, Any] | None, required: Sequence[str], names: Sequence[str]) -> RuleResult:
    """Return whether ``claims`` grant the ``required`` scopes of a route. ``names`` are the claims with scopes."""
    if claims is None:
        return RuleResult("scopes", None, None, "not reached", "")
    granted = scopes_of(claims, names)
    missing = [scope for scope in required if scope not in granted]
    found, expected = shown(" ".join(sorted(granted)) or "none"), " ".join(required)
    if not missing:
        return RuleResult("scopes", True, None, found, expected)
    elsewhere = next(_places(claims, missing[0]), None)
    advice = f"no {missing[0]} in {', '.join(names)}"
    if elsewhere is not None:
        advice += f"; {shown(elsewhere)} has it: add that to JWT_SCOPE_CLAIMS if it holds scopes"
    return RuleResult("scopes", False, Reason.INSUFFICIENT_SCOPE, found, expected, advice)


def _places(claims: Mapping[str, Any], scope: str, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the dotted paths of the claims that have ``scope``."""
    for name, value in claims.items():
        here = (*path, name)
        if isinstance(value, dict):
            yield from _places(value, scope, here)
        elif scope in scopes_of({"scope": value}, ["scope"]):
            yield ".".join(here)


def inspect_requirements(claims: Mapping[str, Any] | None, required: Sequence[str]) -> RuleResult:
    """Return whether ``claims`` meet the ``required`` ones of a route, written as in ``JWT_REQUIRED_CLAIMS``."""
    if claims is None:
        return RuleResult("claims", None, None, "not reached", "")
    found = {name: claim_at(claims, name) for name, _ in map(parse_required, required)}
    present = {name: value for name, value in found.items() if value is not MISSING}
    passed = all(meets(claims, each) for each in required)
    reason = None if passed else Reason.CLAIM_MISMATCH
    return RuleResult("claims", passed, reason, shown(present or f"no {' and no '.join(found)}"), ", ".join(required))


def _plain(text: str) -> str:
    """Return ``text`` on one line of ASCII."""
    return text if text.isascii() and text.isprintable() else json.dumps(text)[1:-1]


def shown(value: Any) -> str:
    """Return ``value`` as JSON, on one line of ASCII, cut if it is long; a string without quotes."""
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
        date = datetime.fromtimestamp(value, timezone.utc).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return value
    return f"{value} ({date})"


def _audiences(audiences: Audiences) -> str:
    if audiences.anything:
        return "any"
    return ", ".join([*sorted(audiences.exact), *(f"{prefix}*" for prefix in audiences.prefixes)])


def _algorithms(candidate: Candidate) -> str:
    return ", ".join(sorted(candidate.algorithms))


DESCRIPTIONS: dict[Callable[[Candidate], None], _Description] = {
    verifier.check_form: _Description(
        "form",
        lambda c: f"{len(c.text)} characters, {c.text.count('.') + 1} segments",
        lambda c: f"3 segments of base64url, {c.longest} characters at most, with JSON objects inside",
        needs=(),
    ),
    verifier.check_algorithm: _Description("algorithm", _header("alg"), _algorithms),
    verifier.check_critical: _Description("critical", _header("crit"), lambda c: "no crit"),
    verifier.check_type: _Description("type", _header("typ"), lambda c: "no typ, JWT or at+jwt"),
    verifier.check_issuer: _Description(
        "issuer",
        _claims("iss"),
        lambda c: f"one of {', '.join(c.issuers)}, with an algorithm that it may use",
        needs=("token", "algorithm"),
    ),
    verifier.check_key: _Description(
        "key",
        _header("kid"),
        lambda c: f"a key of the issuer for {c.algorithm}",
        needs=("token", "algorithm", "issuer"),
    ),
    verifier.check_signature: _Description(
        "signature",
        lambda c: f"{len(c.token.signature)} bytes",
        lambda c: "made with that key",
        needs=("token", "keys"),
    ),
    verifier.check_dates: _Description(
        "dates",
        _dates,
        lambda c: f"exp later than {_date(int(c.now))}, nbf and iat not later; {c.trusted_issuer.leeway:g} s tolerance",
        needs=("token", "issuer"),
    ),
    verifier.check_audience: _Description(
        "audience", _claims("aud"), lambda c: _audiences(c.trusted_issuer.audiences), needs=("token", "issuer")
    ),
    verifier.check_other_claims: _Description(
        "other claims", _claims("sub", "jti"), lambda c: "strings if present; no number too large"
    ),
    verifier.check_sender_constraint: _Description("sender", _claims("cnf"), lambda c: "no cnf: a bearer token"),
    verifier.check_required_claims: _Description(
        "required claims",
        lambda c: _claims(*c.trusted_issuer.required_claims)(c) if c.trusted_issuer.required_claims else "",
        lambda c: json.dumps(dict(c.trusted_issuer.required_claims)) if c.trusted_issuer.required_claims else "none",
        needs=("token", "issuer"),
    ),
}
