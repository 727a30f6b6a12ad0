"""The keys that the development issuer signs with."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jose import jwt
from jose.backends import ECKey, RSAKey

from app.encoding import base64url
from app.jwks.algorithms import ALGORITHMS

from .private_file import write_private

_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_PUBLIC = ("kty", "crv", "n", "e", "x", "y", "kid", "use", "alg")
_THUMBPRINT = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


class BadKeyFile(Exception):
    """The file of keys is not what this class wrote."""


class IssuerKeys:
    """Private keys as JWKs: one for EdDSA, one for each ES, and one for RS and PS together."""

    def __init__(self, keys: list[dict[str, Any]]) -> None:
        self._keys = keys

    @classmethod
    def load(cls, path: Path) -> "IssuerKeys":
        """Return the keys in ``path``, made on first use. Raises ``BadKeyFile`` and ``OSError``."""
        if not path.exists():
            write_private(path, json.dumps({"keys": _generate()}))
        try:
            keys = json.loads(path.read_text(encoding="utf-8"))["keys"]
            if not all(isinstance(key["kid"], str) for key in keys):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise BadKeyFile(f"{path} holds no keys: delete it, and new ones are made") from None
        return cls(keys)

    def public(self, algorithms: Collection[str]) -> dict[str, Any]:
        """Return the key set to publish (RFC 7517, section 5): the keys for ``algorithms``."""
        wanted = [self._key_for(algorithm) for algorithm in algorithms if algorithm in ALGORITHMS]
        published = [key for key in self._keys if key in wanted]
        return {"keys": [{name: key[name] for name in _PUBLIC if name in key} for key in published]}

    def sign(self, claims: Mapping[str, Any], algorithm: str) -> str:
        """Return a token with ``claims``, signed with ``algorithm``: one of ``ALGORITHMS``."""
        key = self._key_for(algorithm)
        token: str = jwt.encode(dict(claims), key, algorithm=algorithm, headers={"kid": key["kid"]})
        return token

    def _key_for(self, algorithm: str) -> dict[str, Any]:
        wanted = ALGORITHMS[algorithm]
        return next(key for key in self._keys if key["kty"] == wanted.kty and wanted.crv in (None, key.get("crv")))


def _generate() -> list[dict[str, Any]]:
    ed = ed25519.Ed25519PrivateKey.generate()
    keys: list[dict[str, Any]] = [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "x": base64url.encode(ed.public_key().public_bytes_raw()),
            "d": base64url.encode(ed.private_bytes_raw()),
        }
    ]
    for algorithm, curve in _CURVES.items():
        keys.append(ECKey(ec.generate_private_key(curve), algorithm).to_dict())
    rsa_key = RSAKey(rsa.generate_private_key(65537, 2048), "RS256").to_dict()
    del rsa_key["alg"]  # it signs RS and PS alike
    keys.append(rsa_key)
    return [{**key, "use": "sig", "kid": _thumbprint(key)} for key in keys]


def _thumbprint(key: Mapping[str, Any]) -> str:
    """Return the key's thumbprint (RFC 7638, section 3)."""
    members = {name: key[name] for name in _THUMBPRINT[key["kty"]]}
    digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return base64url.encode(digest)
