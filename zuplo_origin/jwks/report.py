"""A report on the keys that an issuer publishes: which are usable, and what to change."""

from dataclasses import asdict, dataclass
from typing import Any

from .failures import Cause, Failure, quoted
from .fetch import Source
from .keys import parse_key_set, read_key_set


@dataclass(frozen=True)
class PublishedKey:
    """One published key. ``size`` is its curve or its number of bits.

    ``why`` is the reason if it is not usable, in the words of the log, and ``cause`` its place in ``Cause``.
    """

    kid: str | None
    kty: str | None
    size: str | None
    alg: str | None
    use: str | None
    usable: bool
    why: str | None = None
    cause: Cause | None = None


@dataclass(frozen=True)
class KeySetReport:
    """The keys of one issuer, and what to change.

    ``failure`` is why there is no usable key set, in the words of the log, and ``cause`` its place in ``Cause``.
    """

    issuer: str
    url: str
    failure: str | None = None
    cause: Cause | None = None
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
        document = source.fetch()
        key_set = read_key_set(document.body, allowed, document.url)
    except Failure as failure:
        return KeySetReport(source.issuer, source.url, str(failure), failure.cause)
    failure_text, cause = None, None
    try:
        parse_key_set(document.body, allowed, document.url)
    except Failure as failure:
        failure_text, cause = str(failure), failure.cause
    usable = [
        PublishedKey(key.kid, key.kty, key.crv or str(key.bits), key.alg, key.use, usable=True) for key in key_set.keys
    ]
    unusable = [
        PublishedKey(key.kid, key.kty, key.crv, key.alg, key.use, False, key.why, key.cause) for key in key_set.unusable
    ]
    changes = [
        f"Add one of {', '.join(key.lacking)} to JWT_ALGORITHMS to accept tokens of the key {quoted(key.kid or '-')}."
        for key in key_set.unusable
        if key.lacking
    ]
    if not usable and not changes:
        changes.append("The issuer has to publish another key: no setting makes one of these usable.")
    return KeySetReport(source.issuer, source.url, failure_text, cause, (*usable, *unusable), tuple(changes))
