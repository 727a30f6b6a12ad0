"""Keys (RFC 7517) and key sets: which keys are usable, and which of them fit a token."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from jose import jwk
from jose.exceptions import JOSEError

from zuplo_origin.encoding import decode_base64url, load_json

from .algorithms import ALGORITHMS, SignatureVerifier, names_of
from .failures import BadKeySet, Cause, UnusableKey, at, quoted

MAX_KEYS = 128
"""Keys in a key set."""
MAX_REASONS = 8
"""Unusable keys of one key set that a message or the log lists."""
RSA_BITS = (2048, 8192)
"""At least: RFC 7518, sections 3.3 and 3.5. At most: a verification takes longer than a millisecond beyond."""
MAX_EXPONENT = 2**32 - 1
"""The largest public exponent: with 3,060 bits of exponent, a verification takes 3.8 ms."""
_COORDINATE_BYTES = {"P-256": 32, "P-384": 48, "P-521": 66}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


@dataclass(frozen=True)
class SigningKey:
    """A public key of an issuer, built once when its key set arrives.

    ``material`` is the same for keys with the same numbers. ``verifiers`` has one entry for each name of an allowed
    algorithm that the key can be used with.
    """

    kid: str | None
    kty: str
    crv: str | None
    bits: int | None
    alg: str | None
    use: str | None
    material: tuple[int, ...]
    verifiers: Mapping[str, SignatureVerifier] = field(repr=False)

    @property
    def identity(self) -> str:
        """Return a text that differs for each ``kid`` and each key."""
        return hashlib.sha256(repr((self.kid, self.kty, self.crv, self.material)).encode()).hexdigest()[:32]


def signing_key(entry: Any, allowed: frozenset[str]) -> SigningKey:
    """Return the key that the JWK ``entry`` describes, for the ``allowed`` algorithms.

    A member that is ``null`` counts as absent: C# serializers write ``"use": null``. Raises ``UnusableKey`` if it does
    not describe a key for one of the algorithms (RFC 7517, section 4; RFC 7518, section 6).
    """
    if isinstance(entry, _DuplicateMember):
        raise UnusableKey(Cause.KEY_DUPLICATE_MEMBER, f"it has the member {quoted(entry.name)} twice")
    if not isinstance(entry, dict):
        raise UnusableKey(Cause.KEY_NOT_OBJECT, f"it is {_kind(entry)}, not an object")
    entry = {name: value for name, value in entry.items() if value is not None}
    for name, value in entry.items():
        if isinstance(value, _DuplicateMember):
            raise UnusableKey(Cause.KEY_DUPLICATE_MEMBER, f"its {quoted(name)} has a member twice")
    kid, alg, use = (_optional_string(entry, name) for name in ("kid", "alg", "use"))
    _check_purpose(entry, use)
    kty, crv, bits, material = _material(entry)
    names = [name for name, each in ALGORITHMS.items() if each.kty == kty and each.crv in (None, crv)]
    fitting = [name for name in names if alg is None or alg in names_of(name)]
    if not fitting:
        why = f"its alg is {quoted(alg)}; its kty and crv need one of {', '.join(names)}"
        raise UnusableKey(Cause.KEY_ALGORITHM, why)
    if not allowed.intersection(fitting):
        why = f"its algorithm is not allowed; add {' or '.join(fitting)} to JWT_ALGORITHMS"
        raise UnusableKey(Cause.KEY_NOT_ALLOWED, why, tuple(fitting))
    try:
        public = {name: entry[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in entry}
        built = {name: jwk.construct(public, name) for name in fitting if name in allowed}
        next(iter(built.values())).verify(b"", b"\2".rjust(_signature_bytes(crv, bits), b"\0"))
    except (JOSEError, UnsupportedAlgorithm, ValueError) as error:  # a point that is not on its curve
        raise UnusableKey(Cause.KEY_POINT, "its numbers are not a valid public key") from error
    verifiers = {alias: verifier for name, verifier in built.items() for alias in names_of(name)}
    return SigningKey(kid, kty, crv, bits, alg, use, material, verifiers)


def _signature_bytes(crv: str | None, bits: int | None) -> int:
    return (bits + 7) // 8 if bits else 2 * _COORDINATE_BYTES.get(crv or "", 32)


def _kind(value: Any) -> str:
    """Return the JSON type of ``value``, for messages."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _optional_string(entry: dict[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise UnusableKey(Cause.KEY_MEMBER_TYPE, f"its {name} is {_kind(value)}, not a string")
    return value


def _check_purpose(entry: dict[str, Any], use: str | None) -> None:
    if use not in (None, "sig"):
        raise UnusableKey(Cause.KEY_USE, f"its use is {quoted(use)}, not 'sig'")
    if "key_ops" in entry:
        operations = entry["key_ops"]
        if not isinstance(operations, list) or "verify" not in operations:
            raise UnusableKey(Cause.KEY_OPS, f"its key_ops are {quoted(operations)}, and lack 'verify'")
    if entry.get("kty") == "oct":
        why = "it is symmetric (kty oct): any reader of the key set could sign with it; publish a public key"
        raise UnusableKey(Cause.KEY_SYMMETRIC, why)
    private = [name for name in _PRIVATE if name in entry]
    if private:
        why = f"it is private (it has {private[0]}): the issuer publishes its private key, and must replace it"
        raise UnusableKey(Cause.KEY_PRIVATE, why)


def _material(entry: dict[str, Any]) -> tuple[str, str | None, int | None, tuple[int, ...]]:
    """Return ``kty``, ``crv`` and, for RSA, the size in bits, and the numbers that make the key what it is."""
    kty, crv = (_optional_string(entry, name) for name in ("kty", "crv"))
    if kty == "RSA":
        n, e = (int.from_bytes(_octets(entry, name), "big") for name in ("n", "e"))
        _check_rsa(n, e)
        return "RSA", None, n.bit_length(), (n, e)
    if kty not in ("EC", "OKP"):
        raise UnusableKey(Cause.KEY_TYPE, f"its kty is {quoted(kty) if kty else 'missing'}; expected RSA, EC or OKP")
    curves = _COORDINATE_BYTES if kty == "EC" else {"Ed25519": 32}
    if crv not in curves:
        expected = f"expected {', '.join(curves)} for kty {kty}"
        raise UnusableKey(Cause.KEY_CURVE, f"its crv is {quoted(crv) if crv else 'missing'}; {expected}")
    octets = [_octets(entry, name, curves[crv], crv) for name in ("x", "y")[: 2 if kty == "EC" else 1]]
    return kty, crv, None, tuple(int.from_bytes(each, "big") for each in octets)


def _check_rsa(n: int, e: int) -> None:
    bits, (least, most) = n.bit_length(), RSA_BITS
    if bits < least:
        raise UnusableKey(Cause.KEY_TOO_SHORT, f"its n has {bits} bits; RSA keys need {least} or more")
    if bits > most:
        raise UnusableKey(Cause.KEY_TOO_LONG, f"its n has {bits} bits; RSA keys have {most} at most")
    if n % 2 == 0:
        raise UnusableKey(Cause.KEY_MODULUS, "its n is even: it is not a product of two large primes")
    if e % 2 == 0 or not 3 <= e <= MAX_EXPONENT:
        found = e if e <= 2**64 else f"a number of {e.bit_length()} bits"
        raise UnusableKey(Cause.KEY_EXPONENT, f"its e is {found}; expected an odd number from 3 to {MAX_EXPONENT}")


def _octets(entry: dict[str, Any], name: str, size: int | None = None, curve: str = "") -> bytes:
    """Return the bytes of the member ``name``, which are base64url without padding (RFC 7515, section 2)."""
    value = entry.get(name)
    if value is None or value == "":
        raise UnusableKey(Cause.KEY_MEMBER_MISSING, f"its {name} is missing")
    if not isinstance(value, str):
        raise UnusableKey(Cause.KEY_MEMBER_TYPE, f"its {name} is {_kind(value)}, not a string")
    if value.endswith("="):
        raise UnusableKey(Cause.KEY_PADDING, f"its {name} has base64 padding (=); base64url has none in a JWK")
    if "+" in value or "/" in value:
        why = f"its {name} is in the standard base64 alphabet (it has + or /); a JWK needs base64url, with - and _"
        raise UnusableKey(Cause.KEY_ALPHABET, why)
    try:
        octets = decode_base64url(value)
    except ValueError:
        wrong = re.search("[^A-Za-z0-9_-]", value)
        detail = f"it has the character {quoted(wrong[0])}" if wrong else "unused bits are set, or its length is wrong"
        raise UnusableKey(Cause.KEY_ENCODING, f"its {name} is not base64url ({detail})") from None
    if size is not None and len(octets) != size:
        raise UnusableKey(Cause.KEY_LENGTH, f"its {name} has {len(octets)} bytes; {curve} needs {size}")
    return octets


@dataclass(frozen=True)
class SkippedKey:
    """A JWK that was skipped: the ``cause``, and why in words. ``lacking`` is described at ``UnusableKey``."""

    kid: str | None
    kty: str | None
    crv: str | None
    alg: str | None
    use: str | None
    cause: Cause
    why: str
    lacking: tuple[str, ...] = ()


class WantedKey(NamedTuple):
    """The key that a token asks for. ``kid`` is ``None`` if the token names no key.

    ``is_replaced`` means that cached keys fit, and none of them has signed the token.
    """

    kid: str | None
    algorithm: str
    is_replaced: bool = False


@dataclass(frozen=True)
class KeySet:
    """The keys of one issuer. It is immutable: a later response makes another key set.

    ``kids`` are those of all its keys, usable or not. ``fitting`` has the verifiers for a ``kid`` and an algorithm, in
    the order of the set, one for each different key; under the ``kid`` ``None`` are those of all keys.
    """

    keys: tuple[SigningKey, ...]
    unusable: tuple[SkippedKey, ...]
    kids: frozenset[str]
    fitting: Mapping[tuple[str | None, str], tuple[SignatureVerifier, ...]] = field(repr=False)

    def find(
        self, kid: str | None, algorithm: str, tried: tuple[SignatureVerifier, ...] = ()
    ) -> tuple[SignatureVerifier, ...]:
        """Return the verifiers of all keys that fit, without those that were ``tried``.

        A token that names no key may be signed by any. A key without ``kid`` fits a token that names one only if no key
        of the set has a ``kid``.
        """
        fitting = self.fitting.get((kid if self.kids else None, algorithm), ())
        return tuple(each for each in fitting if each not in tried) if tried else fitting

    def knows(self, kid: str | None, algorithm: str) -> bool:
        """Return whether the key set has the key that a token names, usable or not; for no ``kid``, one that fits."""
        return kid in self.kids if kid is not None and self.kids else bool(self.find(kid, algorithm))

    def describe(self, kid: str | None, algorithm: str) -> str:
        """Return which keys fit a token, or why none does, in words."""
        count = len(self.find(kid, algorithm))
        if count:
            named = f"the kid {quoted(kid)}" if kid is not None and self.kids else algorithm
            return f"1 key fits {named}" if count == 1 else f"{count} different keys fit {named}, tried in turn"
        if kid is None:
            return f"none of the {len(self.keys)} usable keys is for {algorithm}"
        for skipped in self.unusable:
            if skipped.kid == kid:
                return f"the key {quoted(kid)} is not usable: {skipped.why}"
        if kid in self.kids:
            names = sorted({name for key in self.keys if key.kid == kid for name in key.verifiers})
            return f"the key {quoted(kid)} is for {', '.join(names)}, not for {algorithm}"
        known = ", ".join(quoted(each) for each in sorted(self.kids)[:MAX_REASONS]) or "no kid"
        return f"none of the {len(self.keys) + len(self.unusable)} keys has the kid {quoted(kid)}; the set has {known}"


def parse_key_set(body: bytes, allowed: frozenset[str], url: str = "") -> KeySet:
    """Return the key set in ``body``, with keys for the ``allowed`` algorithms. ``url`` is for messages.

    Raises ``BadKeySet`` if the document is not a key set, or has no usable key.
    """
    key_set = read_key_set(body, allowed, url)
    if not key_set.keys:
        listed = "; ".join(f"{quoted(key.kid or '-')}: {key.why}" for key in key_set.unusable[:MAX_REASONS])
        more = len(key_set.unusable) - MAX_REASONS
        listed += f"; and {more} more" if more > 0 else ""
        text = f"none of its {len(key_set.unusable)} keys is usable: {listed}"
        raise BadKeySet(Cause.NO_USABLE_KEY, at(url, text))
    return key_set


def read_key_set(body: bytes, allowed: frozenset[str], url: str = "") -> KeySet:
    """Return the key set in ``body``, even if none of its keys is usable.

    Raises ``BadKeySet`` if the document is not a key set, has no keys, or too many.
    """
    document = load_document(body, url)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        found = _kind(document)
        if isinstance(document, dict):
            found = f"an object with {', '.join(quoted(name) for name in list(document)[:MAX_REASONS]) or 'no members'}"
        elif isinstance(document, _DuplicateMember):
            found = f"an object with the member {quoted(document.name)} twice"
        is_metadata = isinstance(document, dict) and "jwks_uri" in document
        hint = "; this is a discovery document: set JWKS_URL=discovery" if is_metadata else ""
        raise BadKeySet(Cause.NO_KEYS, at(url, f"it is not a key set: it is {found}, without a list 'keys'{hint}"))
    if not entries:
        raise BadKeySet(Cause.EMPTY, at(url, "its list of keys is empty; the issuer must publish a key"))
    if len(entries) > MAX_KEYS:
        raise BadKeySet(Cause.TOO_MANY_KEYS, at(url, f"it has {len(entries)} keys; {MAX_KEYS} are accepted at most"))
    usable: list[SigningKey] = []
    unusable: list[SkippedKey] = []
    for entry in entries:
        try:
            usable.append(signing_key(entry, allowed))
        except UnusableKey as error:
            kid, kty, crv, alg, use = (_text(entry, name) for name in ("kid", "kty", "crv", "alg", "use"))
            unusable.append(SkippedKey(kid, kty, crv, alg, use, error.cause, str(error), error.lacking))
    everyone: list[SigningKey | SkippedKey] = [*usable, *unusable]
    kids = frozenset(key.kid for key in everyone if key.kid is not None)
    return KeySet(tuple(usable), tuple(unusable), kids, _index(usable))


def _index(keys: list[SigningKey]) -> dict[tuple[str | None, str], tuple[SignatureVerifier, ...]]:
    """Return the verifiers by ``kid`` and algorithm. Keys of the same material count once."""
    found: dict[tuple[str | None, str], dict[tuple[int, ...], SignatureVerifier]] = {}
    for key in keys:
        for name, verifier in key.verifiers.items():
            for kid in {key.kid, None}:
                found.setdefault((kid, name), {}).setdefault(key.material, verifier)
    return {wanted: tuple(by_material.values()) for wanted, by_material in found.items()}


_MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def load_document(body: bytes, url: str) -> Any:
    """Return the JSON in ``body``. Raises ``BadKeySet`` if it is not JSON."""
    for mark, name in _MARKS.items():
        if body.startswith(mark):
            text = f"it begins with a byte order mark ({name}); the server must send JSON in UTF-8 without one"
            raise BadKeySet(Cause.BYTE_ORDER_MARK, at(url, text))
    try:
        return load_json(body, _build_object)
    except ValueError:
        start = quoted(body[:40].decode("ascii", "replace"))
        text = f"it is not JSON; it begins with {start}" if body.strip() else "it is not JSON; it is empty"
        raise BadKeySet(Cause.NOT_JSON, at(url, text)) from None


class _DuplicateMember(NamedTuple):
    """An object that has a member twice: one bad key must not make the whole key set unusable."""

    name: str


def _build_object(members: list[tuple[str, Any]]) -> Any:
    built = dict(members)
    return built if len(built) == len(members) else _DuplicateMember(next(_repeated(members)))


def _repeated(members: list[tuple[str, Any]]) -> Iterator[str]:
    seen = set()
    for name, _ in members:
        if name in seen:
            yield name
        seen.add(name)


def _text(entry: Any, name: str) -> str | None:
    value = entry.get(name) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else None
