"""From a JWK (RFC 7517) to a key that verifies, or the word that says why not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from jose import jwk
from jose.exceptions import JOSEError

from app.encoding import base64url

from .algorithms import ALGORITHMS, names_of

MIN_RSA_BITS = 2048
"""RFC 7518, sections 3.3 and 3.5."""

_COORDINATE_BYTES = {"P-256": 32, "P-384": 48, "P-521": 66}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class Verifier(Protocol):
    """What checks a signature: python-jose's ``Key``."""

    def verify(self, msg: bytes, sig: bytes) -> bool: ...


class UnusableKey(Exception):
    """A JWK that verifies nothing here. Its text says why, in words of our own.

    ``lacking`` are the algorithms that it could be used with, were they allowed.
    """

    def __init__(self, why: str, lacking: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.lacking = lacking


@dataclass(frozen=True)
class SigningKey:
    """A public key of an issuer, ready to verify: built once, as its set arrives.

    ``verifiers`` holds one for each name of an algorithm that the key is for and that is allowed.
    """

    kid: str | None
    kty: str
    crv: str | None
    bits: int | None
    alg: str | None
    use: str | None
    verifiers: Mapping[str, Verifier] = field(repr=False)


def signing_key(entry: Any, allowed: frozenset[str]) -> SigningKey:
    """Return the key that ``entry``, a member of a key set, describes, for the ``allowed`` algorithms.

    Raises ``UnusableKey`` where it describes none, or none that fits (RFC 7517, section 4; RFC 7518, section 6).
    """
    if not isinstance(entry, dict):
        raise UnusableKey("it is not an object whose members are all named once")
    kid, alg, use = (_optional_string(entry, name) for name in ("kid", "alg", "use"))
    _check_purpose(entry, use)
    kty, crv, bits = _check_material(entry)
    fitting = [
        name
        for name, algorithm in ALGORITHMS.items()
        if algorithm.kty == kty and algorithm.crv in (None, crv) and (alg is None or alg in names_of(name))
    ]
    if not fitting:
        raise UnusableKey("its alg does not go with its kty and crv, or is not a signature's")
    if not allowed.intersection(fitting):
        raise UnusableKey(f"its algorithm is not allowed: JWT_ALGORITHMS lacks {' and '.join(fitting)}", tuple(fitting))
    try:
        public = {name: entry[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in entry}
        built = {name: jwk.construct(public, name) for name in fitting if name in allowed}
    except (JOSEError, UnsupportedAlgorithm, ValueError) as error:  # a point off its curve, an even exponent
        raise UnusableKey("its numbers are no key") from error
    verifiers = {alias: verifier for name, verifier in built.items() for alias in names_of(name)}
    return SigningKey(kid, kty, crv, bits, alg, use, verifiers)


def _optional_string(entry: dict[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if name in entry and not isinstance(value, str):
        raise UnusableKey(f"its {name} is not a string")
    return value


def _check_purpose(entry: dict[str, Any], use: str | None) -> None:
    if use not in (None, "sig"):
        raise UnusableKey("its use is not sig")
    if "key_ops" in entry:
        operations = entry["key_ops"]
        if not isinstance(operations, list) or "verify" not in operations:
            raise UnusableKey("its key_ops lack verify")
    if entry.get("kty") == "oct":
        raise UnusableKey("it is symmetric: whoever reads it could sign")
    if any(name in entry for name in _PRIVATE):
        raise UnusableKey("it is private: its issuer has published what it signs with")


def _check_material(entry: dict[str, Any]) -> tuple[str, str | None, int | None]:
    """Return ``kty``, ``crv`` and, for RSA, the size in bits."""
    kty, crv = entry.get("kty"), entry.get("crv")
    if kty == "RSA":
        bits = int.from_bytes(_octets(entry, "n"), "big").bit_length()
        _octets(entry, "e")
        if bits < MIN_RSA_BITS:
            raise UnusableKey(f"it has {bits} bits: RSA takes {MIN_RSA_BITS} or more")
        return "RSA", None, bits
    if kty == "EC" and isinstance(crv, str) and crv in _COORDINATE_BYTES:
        for name in ("x", "y"):
            _octets(entry, name, _COORDINATE_BYTES[crv])
        return "EC", crv, None
    if kty == "OKP" and crv == "Ed25519":
        _octets(entry, "x", 32)
        return "OKP", crv, None
    raise UnusableKey("its kty and crv are none that verify here")


def _octets(entry: dict[str, Any], name: str, size: int | None = None) -> bytes:
    value = entry.get(name)
    try:
        octets = base64url.decode(value) if isinstance(value, str) else b""
    except ValueError:
        octets = b""
    if not octets or (size is not None and len(octets) != size):
        raise UnusableKey(f"its {name} is missing, or not base64url of the right length")
    return octets
