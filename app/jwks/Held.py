"""What is held of an issuer's keys, and for how long it serves."""

from dataclasses import dataclass

from .fetch import Document, FetchFailed
from .KeySet import KeySet, parse_key_set
from .Schedule import Policy


@dataclass(frozen=True)
class Held:
    """A key set, and until when it serves. ``generation`` changes with the set's content, and with nothing else."""

    key_set: KeySet
    body: bytes
    etag: str | None
    generation: int
    fetched_at: float
    fresh_until: float
    usable_until: float


def renewed(held: Held | None, document: Document, allowed: frozenset[str], policy: Policy, now: float) -> Held:
    """Return what is held after ``document`` arrived ``now``, with ``held`` before it.

    Raises ``BadKeySet``, and ``FetchFailed`` where nothing was held that could be unchanged.
    """
    if held is not None and document.body in (None, held.body):
        key_set, body, generation = held.key_set, held.body, held.generation
    elif document.body is None:
        raise FetchFailed("the answer has status 304, and no keys are held")
    else:
        key_set, body = parse_key_set(document.body, allowed), document.body
        generation = held.generation + 1 if held else 1
    fetched_at = now - document.age
    fresh_until = fetched_at + policy.fresh_for(document.max_age)
    return Held(key_set, body, document.etag, generation, fetched_at, fresh_until, fresh_until + policy.max_stale)
