"""Signature algorithms, and the public keys that verify them."""

from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from jose import jwk
from jose.backends.base import Key
from jose.backends.cryptography_backend import CryptographyECKey, CryptographyRSAKey
from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as PrivateEd25519Key
from nacl.signing import VerifyKey

from zuplo_origin.encoding import decode_base64url


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


class SignatureVerifier(Protocol):
    """A public key with its algorithm: the part of python-jose's ``Key`` that checks signatures."""

    def verify(self, msg: bytes, sig: bytes) -> bool: ...


class RSAKey(CryptographyRSAKey):
    """An RSA key for RS256 to RS512 (RFC 7518, section 3.3), and for PS256 to PS512 (section 3.5).

    The salt of PS256 to PS512 is as long as the hash. Padding and hash are created once for a key; python-jose creates
    them for each signature. A signature has exactly as many bytes as the modulus (RFC 8017, 8.1.2 and 8.2.2).
    """

    def __init__(self, key: Any, algorithm: str) -> None:
        super().__init__(key, algorithm.replace("PS", "RS"))
        self._algorithm = algorithm
        self._hash = _HASHES[algorithm[2:]]
        self._length = (self.prepared_key.key_size + 7) // 8
        self._padding: padding.AsymmetricPadding = padding.PKCS1v15()
        if algorithm.startswith("PS"):
            self._padding = padding.PSS(mgf=padding.MGF1(self._hash), salt_length=self._hash.digest_size)

    def sign(self, msg: bytes) -> bytes:
        return self.prepared_key.sign(msg, self._padding, self._hash)  # type: ignore[no-any-return]

    def verify(self, msg: bytes, sig: bytes) -> bool:
        if len(sig) != self._length:
            return False
        try:
            self.prepared_key.verify(sig, msg, self._padding, self._hash)
        except InvalidSignature:
            return False
        return True


class ECKey(CryptographyECKey):
    """An EC key for ES256 to ES512. A signature is ``r`` and ``s``, each as long as the curve's order (section 3.4)."""

    def __init__(self, key: Any, algorithm: str) -> None:
        super().__init__(key, algorithm)
        self._number = (self.prepared_key.curve.key_size + 7) // 8
        self._ecdsa = ec.ECDSA(_HASHES[algorithm[2:]])

    def verify(self, msg: bytes, sig: bytes) -> bool:
        if len(sig) != 2 * self._number:
            return False
        r, s = int.from_bytes(sig[: self._number], "big"), int.from_bytes(sig[self._number :], "big")
        try:
            self.prepared_key.verify(encode_dss_signature(r, s), msg, self._ecdsa)
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
for _name in ("ES256", "ES384", "ES512"):
    jwk.register_key(_name, ECKey)
for _name in ALIASES["EdDSA"]:
    jwk.register_key(_name, EdDSAKey)
