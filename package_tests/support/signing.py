"""Keys that sign tokens, with `cryptography` only, independent of the code under test."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"ES256": ("P-256", ec.SECP256R1()), "ES384": ("P-384", ec.SECP384R1()), "ES512": ("P-521", ec.SECP521R1())}
ALGORITHMS = ("EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")

_rsa_keys: dict[int, rsa.RSAPrivateKey] = {}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def encode(value: Any) -> str:
    """Return a segment of a token: `value` as JSON, or bytes unchanged."""
    return b64(value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode())


class Key:
    """A private key for one algorithm. `kid` is `None` for a key without one."""

    def __init__(self, algorithm: str, kid: str | None = "key", bits: int = 2048, fresh: bool = False) -> None:
        self.algorithm, self.kid = algorithm, kid
        if algorithm in ("EdDSA", "Ed25519"):
            self.private: Any = ed25519.Ed25519PrivateKey.generate()
        elif algorithm.startswith("ES"):
            self.private = ec.generate_private_key(CURVES[algorithm][1])
        elif fresh:
            self.private = rsa.generate_private_key(65537, bits)
        else:
            if bits not in _rsa_keys:
                _rsa_keys[bits] = rsa.generate_private_key(65537, bits)
            self.private = _rsa_keys[bits]

    def sign(self, data: bytes, algorithm: str | None = None) -> bytes:
        algorithm = algorithm or self.algorithm
        if algorithm in ("EdDSA", "Ed25519"):
            return self.private.sign(data)
        hashed = HASHES[algorithm[2:]]
        if algorithm.startswith("RS"):
            return self.private.sign(data, padding.PKCS1v15(), hashed)
        if algorithm.startswith("PS"):
            return self.private.sign(data, padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed)
        size = (self.private.key_size + 7) // 8
        r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashed)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return the public key as a JWK. `members` are added, or removed if they are `None`."""
        jwk: dict[str, Any] = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        public = self.private.public_key()
        if self.algorithm in ("EdDSA", "Ed25519"):
            jwk |= {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        elif self.algorithm.startswith("ES"):
            numbers, size = public.public_numbers(), (self.private.key_size + 7) // 8
            crv = CURVES[self.algorithm][0]
            jwk |= {"kty": "EC", "crv": crv, "x": number(numbers.x, size), "y": number(numbers.y, size)}
        else:
            numbers = public.public_numbers()
            jwk |= {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        return {name: value for name, value in (jwk | members).items() if value is not None}

    def token(self, claims: Any, **header: Any) -> str:
        """Return a token. `header` members are added, or removed if they are `None`."""
        full = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid} | header
        signed = f"{encode({k: v for k, v in full.items() if v is not None})}.{encode(claims)}"
        return f"{signed}.{b64(self.sign(signed.encode()))}"
