"""A report on the keys that an issuer publishes: which are usable, and what to change."""

from dataclasses import asdict, dataclass
from typing import Any

from zuplo_origin.encoding import printable

from .fetch import FetchFailed, Source
from .keys import BadKeySet, read_key_set


@dataclass(frozen=True)
class PublishedKey:
    """One published key. ``size`` is its curve or its number of bits; ``why`` is the reason if it is not usable."""

    kid: str | None
    kty: str | None
    size: str | None
    alg: str | None
    use: str | None
    usable: bool
    why: str | None = None


@dataclass(frozen=True)
class KeySetReport:
    """The keys of one issuer, and what to change. ``failure`` is the reason if there is no key set."""

    issuer: str
    url: str
    failure: str | None = None
    entries: tuple[PublishedKey, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Return whether any token of this issuer could be accepted."""
        return any(entry.usable for entry in self.entries)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {**asdict(self), "usable": self.usable}


def report(source: Source, allowed: frozenset[str]) -> KeySetReport:
    """Fetch the key set of ``source`` once, and report which keys are usable with the ``allowed`` algorithms."""
    try:
        key_set = read_key_set(source.fetch().body or b"", allowed)
    except (FetchFailed, BadKeySet) as error:
        advice = f"Check that {source.url} is the right URL (JWT_ISSUER, JWKS_URL), and reachable from this machine."
        return KeySetReport(source.issuer, source.url, str(error), advice=(advice,))
    usable = [
        PublishedKey(key.kid, key.kty, key.crv or str(key.bits), key.alg, key.use, usable=True) for key in key_set.keys
    ]
    unusable = [PublishedKey(key.kid, key.kty, key.crv, key.alg, key.use, False, key.why) for key in key_set.unusable]
    changes = [
        f"Add one of {', '.join(key.lacking)} to JWT_ALGORITHMS to accept tokens of the key {printable(key.kid)}."
        for key in key_set.unusable
        if key.lacking
    ]
    if not usable and not changes:
        changes.append("The issuer has to publish another key: no setting makes one of these usable.")
    return KeySetReport(source.issuer, source.url, None, (*usable, *unusable), tuple(changes))
