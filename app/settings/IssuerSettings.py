"""The settings of each issuer: one entry of ``ISSUERS`` in ``config/jwt.py``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.jwks.algorithms import ALGORITHMS
from app.jwks.Source import DISCOVERY, is_acceptable_url
from app.jwt.audience import ANY, Audiences, BadAudience

from .Problems import Problems

SHARED_ISSUERS = ("dev.zuplo.com", "/v1/client-auth/")
"""Host and path of the issuers that sign for every customer of Zuplo."""
OWNER_CLAIMS = ("account", "project")
"""What tells one customer of theirs from another."""


@dataclass(frozen=True)
class IssuerSettings:
    """One issuer: its ``iss``, where its keys are, and what its tokens must hold."""

    name: str
    jwks_url: str
    audiences: Audiences
    algorithms: frozenset[str]
    required_claims: Mapping[str, Any]


def read_issuers(entries: Any, environment: str, problems: Problems) -> tuple[IssuerSettings, ...]:
    """Return the issuers that ``entries`` describe, and note in ``problems`` what cannot be meant."""
    entries = entries or []
    named = [entry for entry in entries if entry.get("issuer")]
    if not named:
        problems.add("JWT_ISSUER", None, "Write the iss of your gateway's tokens: https://<host>/__zuplo/issuer")
        for entry in entries:  # the rest of it is told too
            _audiences(entry.get("audience"), environment, problems)
            _algorithms(entry.get("algorithms"), problems)
            _required_claims(entry.get("required_claims"), problems)
    elif len(named) < len(entries):
        problems.add("JWKS_URL", entries[-1].get("jwks_url"), "Write one for each issuer in JWT_ISSUER, or nothing.")
    urls = [entry.get("jwks_url") for entry in named]
    if any(urls) and not all(urls):
        problems.add("JWKS_URL", ",".join(filter(None, urls)), "Write one for each issuer in JWT_ISSUER, or nothing.")
    names = [entry["issuer"] for entry in named]
    for name in {name for name in names if names.count(name) > 1}:
        problems.add("JWT_ISSUER", name, "Write each issuer once.")
    return tuple(_read_issuer(entry, environment, problems) for entry in named)


def _read_issuer(entry: Mapping[str, Any], environment: str, problems: Problems) -> IssuerSettings:
    name = entry["issuer"]
    if not is_acceptable_url(name) or "?" in name:
        problems.add("JWT_ISSUER", name, "Write an https URL without a query; http is for loopback alone.")
    url = entry.get("jwks_url") or name.rstrip("/") + "/.well-known/jwks.json"
    if entry.get("jwks_url") and url != DISCOVERY and not is_acceptable_url(url):
        problems.add("JWKS_URL", url, f"Write an https URL, or {DISCOVERY}; http is for loopback alone.")
    required = _required_claims(entry.get("required_claims"), problems)
    if _is_shared(name) and not all(required.get(claim) for claim in OWNER_CLAIMS):
        problems.add(
            "JWT_REQUIRED_CLAIMS",
            entry.get("required_claims"),
            f"Write account=<yours>,project=<yours>: {name} signs for every customer of Zuplo, and would let them in.",
        )
    return IssuerSettings(
        name,
        url,
        _audiences(entry.get("audience"), environment, problems),
        _algorithms(entry.get("algorithms"), problems),
        required,
    )


def _is_shared(name: str) -> bool:
    try:
        parts = urlsplit(name)
        return parts.hostname == SHARED_ISSUERS[0] and parts.path.startswith(SHARED_ISSUERS[1])
    except ValueError:
        return False


def _audiences(held: Any, environment: str, problems: Problems) -> Audiences:
    values = _values(held)
    if not values:
        if environment == "production":
            problems.add(
                "JWT_AUDIENCE",
                held,
                f"Write the aud of your gateway's tokens, or https://<host>/* for its URLs; {ANY} checks none.",
            )
        return Audiences.of([ANY])
    try:
        return Audiences.of(values)
    except BadAudience as bad:
        problems.add("JWT_AUDIENCE", held, f"Write it another way: {bad}.")
        return Audiences.of([])


def _algorithms(held: Any, problems: Problems) -> frozenset[str]:
    values = _values(held)
    wrong = [value for value in values if value not in ALGORITHMS]
    if wrong or not values:
        advice = f"Write some of {', '.join(ALGORITHMS)}."
        if any(value.upper().startswith("HS") or value.lower() == "none" for value in wrong):
            advice += " With a symmetric algorithm or none, whoever can check a token can make one."
        problems.add("JWT_ALGORITHMS", held, advice)
    return frozenset(values) - frozenset(wrong)


def _required_claims(held: Any, problems: Problems) -> Mapping[str, Any]:
    if isinstance(held, Mapping):
        return dict(held)
    required: dict[str, Any] = {}
    for pair in _values(held):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value) or name in required:
            problems.add("JWT_REQUIRED_CLAIMS", held, "Write name=value, several separated by commas, each name once.")
        required[name] = value
    return required


def _values(held: Any) -> list[str]:
    """A text of values separated by commas, or a list of them."""
    values = held.split(",") if isinstance(held, str) else [str(value) for value in held or []]
    return [value.strip() for value in values if value.strip()]
