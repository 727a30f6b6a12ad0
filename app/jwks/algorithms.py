"""The signature algorithms, all of them through python-jose, and which keys each takes.

python-jose lacks RSASSA-PSS (RFC 7518, section 3.5) and EdDSA (RFC 8037): they are registered with it here, through
``jose.jwk.register_key``, its own extension point.
"""

from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from jose import jwk
from jose.backends.base import Key
from jose.backends.cryptography_backend import CryptographyRSAKey
from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from app.encoding import base64url


@dataclass(frozen=True)
class Algorithm:
    """The key type and, where it matters, the one curve that an algorithm takes (RFC 7518, section 3.1; RFC 8037)."""

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
"""What ``JWT_ALGORITHMS`` may name."""

ALIASES = {"EdDSA": ("EdDSA", "Ed25519")}
"""Further names of an algorithm in tokens and keys: RFC 9864 calls EdDSA over Ed25519 ``Ed25519``."""


def names_of(algorithm: str) -> tuple[str, ...]:
    """Return every name that tokens and keys may use for ``algorithm``, its own included."""
    return ALIASES.get(algorithm, (algorithm,))


SIGNATURE_BYTES = 64
"""Of Ed25519 (RFC 8032, section 5.1.6)."""

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


class RSAKey(CryptographyRSAKey):
    """An RSA key for RS256 to RS512 (RFC 7518, section 3.3), and for PS256 to PS512, whose salt is as long as the hash
    (section 3.5). Padding and hash are made once; python-jose's own makes them for each signature.
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
    """An Ed25519 key, public or private, out of its JWK (RFC 8037, section 2).

    libsodium takes half of OpenSSL's time for it, and no key or signature of small order, nor another spelling of one.
    Raises ``ValueError`` where ``x`` is no such key.
    """

    def __init__(self, key: dict[str, Any], algorithm: str) -> None:
        self._algorithm = algorithm
        self._private = SigningKey(base64url.decode(key["d"])) if "d" in key else None
        self._public = VerifyKey(base64url.decode(key["x"]))
        if not crypto_core_ed25519_is_valid_point(bytes(self._public)):
            raise ValueError("no point of Ed25519's prime-order group")

    def sign(self, msg: bytes) -> bytes:
        if self._private is None:
            raise TypeError("a public key does not sign")
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
