"""Signature algorithms, keys (RFC 7517) and key sets, and which key verifies a token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from jose import jwk
from jose.backends.base import Key
from jose.backends.cryptography_backend import CryptographyRSAKey
from jose.exceptions import JOSEError
from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as PrivateEd25519Key
from nacl.signing import VerifyKey

from zuplo_origin.encoding import decode_base64url, load_json, printable


@dataclass(frozen=True)
class Algorithm:
    """The key type, and the curve if there is one, of an algorithm's keys (RFC 7518, section 3.1; RFC 8037)."""

    kty: str
    crv: str | None = None


ALGORITHMS = {
    "EdDSA": Algorithm("OKP", "Ed25519"),
    "RS256": Algorithm("RSA"),
    "RS384": Algorithm("RSA"),
    "RS512": Algorithm("RSA"),
    "PS256": Algorithm("RSA"),
    "PS384": Algorithm("RSA"),
    "PS512": Algorithm("RSA"),
    "ES256": Algorithm("EC", "P-256"),
    "ES384": Algorithm("EC", "P-384"),
    "ES512": Algorithm("EC", "P-521"),
}
"""The values that ``JWT_ALGORITHMS`` accepts."""

ALIASES = {"EdDSA": ("EdDSA", "Ed25519")}
"""Further names of an algorithm in tokens and keys: RFC 9864 calls EdDSA over Ed25519 ``Ed25519``."""


def names_of(algorithm: str) -> tuple[str, ...]:
    """Return all names that tokens and keys may use for ``algorithm``."""
    return ALIASES.get(algorithm, (algorithm,))


SIGNATURE_BYTES = 64
"""Length of an Ed25519 signature (RFC 8032, section 5.1.6)."""

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


class RSAKey(CryptographyRSAKey):
    """An RSA key for RS256 to RS512 (RFC 7518, section 3.3), and for PS256 to PS512 (section 3.5).

    The salt of PS256 to PS512 is as long as the hash. Padding and hash are created once for a key; python-jose creates
    them for each signature.
    """

    def __init__(self, key: Any, algorithm: str) -> None:
        super().__init__(key, algorithm.replace("PS", "RS"))
        self._algorithm = algorithm
        self._hash = _HASHES[algorithm[2:]]
        self._padding: padding.AsymmetricPadding = padding.PKCS1v15()
        if algorithm.startswith("PS"):
            self._padding = padding.PSS(mgf=padding.MGF1(self._hash), salt_length=self._hash.digest_size)

    def sign(self, msg: bytes) -> bytes:
        return self.prepared_key.sign(msg, self._padding, self._hash)  # type: ignore[no-any-return]

    def verify(self, msg: bytes, sig: bytes) -> bool:
        try:
            self.prepared_key.verify(sig, msg, self._padding, self._hash)
        except InvalidSignature:
            return False
        return True


class EdDSAKey(Key):
    """An Ed25519 key, public or private, from its JWK (RFC 8037, section 2).

    libsodium takes half of OpenSSL's time, and rejects keys and signatures of small order and non-canonical encodings.
    Raises ``ValueError`` if ``x`` is not a valid key.
    """

    def __init__(self, key: dict[str, Any], algorithm: str) -> None:
        self._algorithm = algorithm
        self._private = PrivateEd25519Key(decode_base64url(key["d"])) if "d" in key else None
        self._public = VerifyKey(decode_base64url(key["x"]))
        if not crypto_core_ed25519_is_valid_point(bytes(self._public)):
            raise ValueError("not a point of the prime-order group of Ed25519")

    def sign(self, msg: bytes) -> bytes:
        if self._private is None:
            raise TypeError("a public key cannot sign")
        return self._private.sign(msg).signature

    def verify(self, msg: bytes, sig: bytes) -> bool:
        if len(sig) != SIGNATURE_BYTES:
            return False
        try:
            self._public.verify(msg, sig)
        except BadSignatureError:
            return False
        return True


for _name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
    jwk.register_key(_name, RSAKey)
for _name in ALIASES["EdDSA"]:
    jwk.register_key(_name, EdDSAKey)


MIN_RSA_BITS = 2048
"""RFC 7518, sections 3.3 and 3.5."""

_COORDINATE_BYTES = {"P-256": 32, "P-384": 48, "P-521": 66}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class SignatureVerifier(Protocol):
    """A public key with its algorithm: the part of python-jose's ``Key`` that checks signatures."""

    def verify(self, msg: bytes, sig: bytes) -> bool: ...


class UnusableKey(Exception):
    """A JWK that cannot verify tokens here. Its text is the reason, and quotes nothing from the JWK.

    ``lacking`` are the algorithms that the key could be used with if the settings allowed them.
    """

    def __init__(self, why: str, lacking: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.lacking = lacking


@dataclass(frozen=True)
class SigningKey:
    """A public key of an issuer, built once when its key set arrives.

    ``verifiers`` has one entry for each name of an allowed algorithm that the key can be used with.
    """

    kid: str | None
    kty: str
    crv: str | None
    bits: int | None
    alg: str | None
    use: str | None
    verifiers: Mapping[str, SignatureVerifier] = field(repr=False)


def signing_key(entry: Any, allowed: frozenset[str]) -> SigningKey:
    """Return the key that the JWK ``entry`` describes, for the ``allowed`` algorithms.

    Raises ``UnusableKey`` if it does not describe a key for one of them (RFC 7517, section 4; RFC 7518, section 6).
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
        raise UnusableKey("its alg does not match its kty and crv, or is not a signature algorithm")
    if not allowed.intersection(fitting):
        raise UnusableKey(f"its algorithm is not allowed: JWT_ALGORITHMS lacks {' and '.join(fitting)}", tuple(fitting))
    try:
        public = {name: entry[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in entry}
        built = {name: jwk.construct(public, name) for name in fitting if name in allowed}
    except (JOSEError, UnsupportedAlgorithm, ValueError) as error:  # a point that is not on its curve, an even exponent
        raise UnusableKey("its numbers are not a valid key") from error
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
            raise UnusableKey("its key_ops do not include verify")
    if entry.get("kty") == "oct":
        raise UnusableKey("it is symmetric: any reader of the key set could sign with it")
    if any(name in entry for name in _PRIVATE):
        raise UnusableKey("it is private: its issuer has published its private key")


def _check_material(entry: dict[str, Any]) -> tuple[str, str | None, int | None]:
    """Return ``kty``, ``crv`` and, for RSA, the size in bits."""
    kty, crv = entry.get("kty"), entry.get("crv")
    if kty == "RSA":
        bits = int.from_bytes(_octets(entry, "n"), "big").bit_length()
        _octets(entry, "e")
        if bits < MIN_RSA_BITS:
            raise UnusableKey(f"it has {bits} bits: RSA keys need {MIN_RSA_BITS} or more")
        return "RSA", None, bits
    if kty == "EC" and isinstance(crv, str) and crv in _COORDINATE_BYTES:
        for name in ("x", "y"):
            _octets(entry, name, _COORDINATE_BYTES[crv])
        return "EC", crv, None
    if kty == "OKP" and crv == "Ed25519":
        _octets(entry, "x", 32)
        return "OKP", crv, None
    raise UnusableKey("its kty and crv are not supported")


def _octets(entry: dict[str, Any], name: str, size: int | None = None) -> bytes:
    value = entry.get(name)
    try:
        octets = decode_base64url(value) if isinstance(value, str) else b""
    except ValueError:
        octets = b""
    if not octets or (size is not None and len(octets) != size):
        raise UnusableKey(f"its {name} is missing, or is not base64url of the right length")
    return octets


class BadKeySet(Exception):
    """A response that is not a key set, or that has no usable key. Its text is the reason."""


@dataclass(frozen=True)
class SkippedKey:
    """A JWK that was skipped, and why. ``lacking`` is described at ``UnusableKey``."""

    kid: str | None
    kty: str | None
    crv: str | None
    alg: str | None
    use: str | None
    why: str
    lacking: tuple[str, ...] = ()


class WantedKey(NamedTuple):
    """The key that a token asks for. ``kid`` is ``None`` if the token names no key."""

    kid: str | None
    algorithm: str


@dataclass(frozen=True)
class KeySet:
    """The keys of one issuer. It is immutable: a later response makes another key set."""

    keys: tuple[SigningKey, ...]
    unusable: tuple[SkippedKey, ...]
    by_kid: Mapping[str | None, tuple[SigningKey, ...]]

    def find(self, kid: str | None, algorithm: str) -> SignatureVerifier | None:
        """Return the one verifier for ``kid`` and ``algorithm``; ``None`` if there is none, or more than one.

        ``kid`` is ``None`` for a token that names no key: then exactly one of all keys has to fit.
        """
        candidates = self.keys if kid is None else self.by_kid.get(kid, ())
        fitting = [key.verifiers[algorithm] for key in candidates if algorithm in key.verifiers]
        return fitting[0] if len(fitting) == 1 else None

    def knows(self, kid: str | None, algorithm: str) -> bool:
        """Return whether the key set has a key for a token, usable or not: then a newer key set is not needed.

        For a token that names no ``kid``, any key for ``algorithm`` counts.
        """
        if kid is None:
            return any(algorithm in key.verifiers for key in self.keys)
        return kid in self.by_kid or any(kid == skipped.kid for skipped in self.unusable)

    def describe(self, kid: str | None, algorithm: str) -> str:
        """Return which keys fit a token, or why none does, in words."""
        candidates = self.keys if kid is None else self.by_kid.get(kid, ())
        count = sum(algorithm in key.verifiers for key in candidates)
        if count:
            return f"{count} different keys fit" if count > 1 else "1 key fits"
        if kid is None:
            return f"none of the {len(self.keys)} usable keys is for {algorithm}"
        for skipped in self.unusable:
            if skipped.kid == kid:
                return f"the key {printable(kid)} is not usable: {skipped.why}"
        if candidates:
            return f"the key {printable(kid)} is not for {algorithm}"
        kids = [key.kid for key in self.keys] + [key.kid for key in self.unusable]
        known = ", ".join(printable(each) for each in kids[:8])
        return f"none of the {len(kids)} keys has the kid {printable(kid)}; the set has {known}"


def parse_key_set(body: bytes, allowed: frozenset[str]) -> KeySet:
    """Return the key set in ``body``, with keys for the ``allowed`` algorithms.

    Raises ``BadKeySet`` if the document is not a key set, or has no usable key.
    """
    key_set = read_key_set(body, allowed)
    if not key_set.keys:
        raise BadKeySet("the key set has no usable key")
    return key_set


def read_key_set(body: bytes, allowed: frozenset[str]) -> KeySet:
    """Return the key set in ``body``, even if none of its keys is usable.

    Raises ``BadKeySet`` if the document is not a key set.
    """
    try:
        document = load_json(body, _object_or_none)
    except ValueError:
        raise BadKeySet("the response is not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise BadKeySet("the response is not a key set: it has no list named keys")
    usable: list[SigningKey] = []
    unusable: list[SkippedKey] = []
    for entry in entries:
        try:
            usable.append(signing_key(entry, allowed))
        except UnusableKey as error:
            kid, kty, crv, alg, use = (_text(entry, name) for name in ("kid", "kty", "crv", "alg", "use"))
            unusable.append(SkippedKey(kid, kty, crv, alg, use, str(error), error.lacking))
    by_kid: dict[str | None, tuple[SigningKey, ...]] = {}
    for key in usable:
        by_kid[key.kid] = (*by_kid.get(key.kid, ()), key)
    return KeySet(tuple(usable), tuple(unusable), by_kid)


def _object_or_none(members: list[tuple[str, Any]]) -> dict[str, Any] | None:
    """Read an object with a duplicate name as null: one bad key must not make the whole key set unusable."""
    built = dict(members)
    return built if len(built) == len(members) else None


def _text(entry: Any, name: str) -> str | None:
    value = entry.get(name) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else None
