"""A token verifier under test, with its issuers and its clock."""

import json

from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwks.keys import parse_key_set
from zuplo_origin.jwt.claims import Audiences
from zuplo_origin.jwt.reasons import Rejected
from zuplo_origin.jwt.verifier import Issuer, TokenVerifier

from .clock import Clock
from .signing import Key

A, B = "https://a.example", "https://b.example"


class StaticKeys:
    """A key source without a network. `looked_up` counts the lookups: one for each signature that is checked."""

    def __init__(self, *keys):
        self.key_set = parse_key_set(json.dumps({"keys": [key.jwk() for key in keys]}).encode(), frozenset(ALGORITHMS))
        self.at, self.looked_up, self.gone = 1, 0, False

    def find(self, kid, algorithm, tried=()):
        if tried:
            return ()
        self.looked_up += 1
        if self.gone:
            raise KeysUnavailable("x", 5)
        return self.key_set.find(kid, algorithm)

    def generation(self):
        return None if self.gone else self.at


def issuer(name, keys, algorithms=("ES256",), audiences=("orders",), required=None, leeway=30):
    return Issuer(name, frozenset(algorithms), Audiences.of(audiences), required or {}, leeway, keys)


class VerifierHarness:
    """A verifier with two issuers, whose different keys have the same `kid`, and a clock that a test sets."""

    def __init__(self, cache_size=16, **options):
        self.clock = Clock(1_000_000.0)
        self.a, self.b = Key("ES256", "k"), Key("ES256", "k")
        self.keys_a, self.keys_b = StaticKeys(self.a), StaticKeys(self.b)
        issuers = [
            issuer(A, self.keys_a, **options),
            issuer(B, self.keys_b, algorithms=("ES256", "RS256"), audiences=("billing",), required={"plan": "gold"}),
        ]
        self.verifier = TokenVerifier(issuers, self.clock, cache_size)

    def claims(self, name=A, **claims):
        usual = {"iss": name, "aud": "orders" if name == A else "billing", "exp": self.clock.now + 300}
        usual |= {"plan": "gold"} if name == B else {}
        return {key: value for key, value in (usual | claims).items() if value is not None}

    def cached(self, claims):
        """Return a token that is cached."""
        token = self.a.token(claims)
        for _ in range(2):
            self.verifier.verify(token)
        assert self.verifier._verified.get(token)
        return token

    def reason(self, token):
        """Return the reason to reject `token`; `None` if it is accepted."""
        try:
            self.verifier.verify(token)
        except Rejected as rejected:
            return rejected.reason.value
        return None
