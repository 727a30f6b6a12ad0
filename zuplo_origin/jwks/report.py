"""What an issuer publishes, and what of it is usable here: for people who ask why no token is let in."""

from dataclasses import asdict, dataclass
from typing import Any

from zuplo_origin.encoding import printable

from .fetch import FetchFailed, Source
from .keys import BadKeySet, read_key_set


@dataclass(frozen=True)
class PublishedKey:
    """One key as it is published. ``size`` is its curve, or its number of bits; ``why`` says why it is not usable."""

    kid: str | None
    kty: str | None
    size: str | None
    alg: str | None
    use: str | None
    usable: bool
    why: str | None = None


@dataclass(frozen=True)
class KeySetReport:
    """One issuer: its keys, and what to change. ``failure`` says why there was no key set, where there was none."""

    issuer: str
    url: str
    failure: str | None = None
    entries: tuple[PublishedKey, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether any token of this issuer could be let in."""
        return any(entry.usable for entry in self.entries)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return {**asdict(self), "usable": self.usable}


def report(source: Source, allowed: frozenset[str]) -> KeySetReport:
    """Fetch the key set of ``source`` once, and say what is usable of it for the ``allowed`` algorithms."""
    try:
        key_set = read_key_set(source.fetch().body or b"", allowed)
    except (FetchFailed, BadKeySet) as error:
        looked = f"Keys were looked for at {source.url}. Is that right (JWT_ISSUER, JWKS_URL), and reachable from here?"
        return KeySetReport(source.issuer, source.url, str(error), advice=(looked,))
    usable = [
        PublishedKey(key.kid, key.kty, key.crv or str(key.bits), key.alg, key.use, usable=True) for key in key_set.keys
    ]
    unusable = [PublishedKey(one.kid, one.kty, one.crv, one.alg, one.use, False, one.why) for one in key_set.unusable]
    advice = [
        f"Add one of {', '.join(one.lacking)} to JWT_ALGORITHMS to let in what the key {printable(one.kid)} signs."
        for one in key_set.unusable
        if one.lacking
    ]
    if not usable and not advice:
        advice.append("Its issuer has to publish a key that verifies: no setting here makes one of these usable.")
    return KeySetReport(source.issuer, source.url, None, (*usable, *unusable), tuple(advice))
