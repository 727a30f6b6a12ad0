"""A report on the keys that an issuer publishes: which are usable, and what to change."""

from dataclasses import asdict, dataclass
from typing import Any

from .failures import Cause, Failure, quoted
from .fetch import Source
from .keys import parse_key_set, read_key_set
from .shared import SharedState


@dataclass(frozen=True)
class PublishedKey:
    """One published key. ``size`` is its curve or its number of bits.

    ``why`` is the reason if it is not usable, in the words of the log, and ``cause`` its place in ``Cause``.
    ``first_seen`` is when a running process fetched it first, in seconds since the epoch, if they share their key sets.
    """

    kid: str | None
    kty: str | None
    size: str | None
    alg: str | None
    use: str | None
    usable: bool
    why: str | None = None
    cause: Cause | None = None
    first_seen: float | None = None


@dataclass(frozen=True)
class KeySetReport:
    """The keys of one issuer, and what to change.

    ``failure`` is why there is no usable key set, in the words of the log, and ``cause`` its place in ``Cause``.
    ``max_age`` is the freshness that the headers gave, in seconds. ``fetched_at`` and ``refresh_due`` are those of the
    running processes, in seconds since the epoch, if they share their key sets.
    """

    issuer: str
    url: str
    failure: str | None = None
    cause: Cause | None = None
    entries: tuple[PublishedKey, ...] = ()
    advice: tuple[str, ...] = ()
    max_age: int | None = None
    fetched_at: float | None = None
    refresh_due: float | None = None

    @property
    def usable(self) -> bool:
        """Return whether any token of this issuer could be accepted."""
        return any(entry.usable for entry in self.entries)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {**asdict(self), "usable": self.usable}


def report(source: Source, allowed: frozenset[str], shared: SharedState | None = None) -> KeySetReport:
    """Fetch the key set of ``source`` once, and report which keys are usable with the ``allowed`` algorithms.

    ``shared`` has the times of the key set that running processes share.
    """
    times = (shared.fetched_at, shared.refresh_due) if shared is not None else (None, None)
    first_seen = shared.first_seen if shared is not None else {}
    try:
        document = source.fetch()
        key_set = read_key_set(document.body, allowed, document.url)
    except Failure as failure:
        return KeySetReport(source.issuer, source.url, str(failure), failure.cause, (), (), None, *times)
    failure_text, cause = None, None
    try:
        parse_key_set(document.body, allowed, document.url)
    except Failure as failure:
        failure_text, cause = str(failure), failure.cause
    usable = [
        PublishedKey(
            *(key.kid, key.kty, key.crv or str(key.bits), key.alg, key.use),
            usable=True,
            first_seen=first_seen.get(key.identity),
        )
        for key in key_set.keys
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
    entries = (*usable, *unusable)
    advice = tuple(changes)
    return KeySetReport(source.issuer, source.url, failure_text, cause, entries, advice, document.max_age, *times)
