"""A key set (RFC 7517, section 5), as it was read from one answer of an issuer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.encoding import strict_json

from .keys import SigningKey, UnusableKey, Verifier, signing_key


class BadKeySet(Exception):
    """An answer that is no key set, or holds no key that could verify anything. Its text says which."""


@dataclass(frozen=True)
class Unusable:
    """An entry that was skipped, and why. ``lacking`` are algorithms that it could be used with, were they allowed."""

    kid: str | None
    kty: str | None
    crv: str | None
    alg: str | None
    use: str | None
    why: str
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeySet:
    """The keys of one issuer. Nothing in it changes: a later answer makes another set."""

    keys: tuple[SigningKey, ...]
    unusable: tuple[Unusable, ...]
    by_kid: Mapping[str | None, tuple[SigningKey, ...]]

    def find(self, kid: str | None, algorithm: str) -> Verifier | None:
        """Return the one verifier for ``algorithm`` under ``kid``; ``None`` where there is none, or more than one.

        ``kid`` is ``None`` for a token that names no key: then exactly one of all keys has to fit.
        """
        candidates = self.keys if kid is None else self.by_kid.get(kid, ())
        fitting = [key.verifiers[algorithm] for key in candidates if algorithm in key.verifiers]
        return fitting[0] if len(fitting) == 1 else None

    def answers(self, kid: str | None, algorithm: str) -> bool:
        """Whether the set has something to say of ``kid``: then a fetch would not help a token whose key does not fit.

        Without a ``kid``, whether several keys fit.
        """
        if kid is None:
            return any(algorithm in key.verifiers for key in self.keys)
        return kid in self.by_kid or any(kid == entry.kid for entry in self.unusable)


def parse_key_set(body: bytes, allowed: frozenset[str]) -> KeySet:
    """Return the key set in ``body``, with keys for the ``allowed`` algorithms.

    Raises ``BadKeySet`` where the document is no key set, or where no entry of it is usable.
    """
    key_set = read_key_set(body, allowed)
    if not key_set.keys:
        raise BadKeySet("the key set has no usable key")
    return key_set


def read_key_set(body: bytes, allowed: frozenset[str]) -> KeySet:
    """Return the key set in ``body``, whether any entry of it is usable or not: those that are not are kept note of.

    Raises ``BadKeySet`` where the document is no key set.
    """
    try:
        document = strict_json.loads(body, _object_or_none)
    except ValueError:
        raise BadKeySet("the answer is not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise BadKeySet("the answer is no key set: it has no list named keys")
    usable: list[SigningKey] = []
    unusable: list[Unusable] = []
    for entry in entries:
        try:
            usable.append(signing_key(entry, allowed))
        except UnusableKey as error:
            kid, kty, crv, alg, use = (_text(entry, name) for name in ("kid", "kty", "crv", "alg", "use"))
            unusable.append(Unusable(kid, kty, crv, alg, use, str(error), error.lacking))
    by_kid: dict[str | None, tuple[SigningKey, ...]] = {}
    for key in usable:
        by_kid[key.kid] = (*by_kid.get(key.kid, ()), key)
    return KeySet(tuple(usable), tuple(unusable), by_kid)


def _object_or_none(members: list[tuple[str, Any]]) -> dict[str, Any] | None:
    """An object with a name that occurs twice is read as null: it spoils itself, not the set that it stands in."""
    built = dict(members)
    return built if len(built) == len(members) else None


def _text(entry: Any, name: str) -> str | None:
    value = entry.get(name) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else None
