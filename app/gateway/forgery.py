"""Tokens that no origin may let in."""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwt
from jose.backends import ECKey, RSAKey
from nacl.signing import SigningKey

from app.encoding import base64url
from app.jwks.algorithms import ALGORITHMS

CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def unsigned(claims: Mapping[str, Any]) -> str:
    """Return a token with ``claims`` that says it needs no signature, and has none (RFC 7518, section 3.6)."""
    return f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{_segment(claims)}."


def forged(claims: Mapping[str, Any], algorithm: str, kid: str) -> str:
    """Return a token with ``claims`` as an issuer would sign it, but with a key that was made just now.

    ``algorithm`` is one of ``ALGORITHMS``; ``kid`` is the id of somebody else's key.
    """
    key: Any
    if algorithm in CURVES:
        key = ECKey(ec.generate_private_key(CURVES[algorithm]), algorithm).to_dict()
    elif ALGORITHMS[algorithm].kty == "RSA":
        key = RSAKey(rsa.generate_private_key(65537, 2048), "RS256").to_dict()
        key.pop("alg")
    else:
        made = SigningKey.generate()
        key = {"kty": "OKP", "crv": "Ed25519", "d": base64url.encode(bytes(made))}
        key["x"] = base64url.encode(bytes(made.verify_key))
    token: str = jwt.encode(dict(claims), key, algorithm=algorithm, headers={"kid": kid})
    return token


def _segment(value: Any) -> str:
    return base64url.encode(json.dumps(value, separators=(",", ":")).encode())
