"""The cost and the gain of the token cache: ``python -m benchmarks.token_cache``

Verifies, in one process, different tokens as a gateway may create them, and one repeated token, for RS256, ES256 and
EdDSA, with the cache off and on in interleaved rounds. Prints medians in microseconds and their ratio.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from package_tests.support.signing import Key
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.keys import KeySet, parse_key_set
from zuplo_origin.jwt.claims import Audiences
from zuplo_origin.jwt.verifier import Issuer, TokenVerifier

ISSUER, ROUNDS, TOKENS = "https://gw.example/__zuplo/issuer", 15, 1500


class Keys:
    """A key source with a key set that never changes."""

    def __init__(self, key_set: KeySet) -> None:
        self.find = key_set.find

    def generation(self) -> int:
        return 1


def main() -> None:
    print(f"{'':8} {'all different':>34} {'one repeated token':>34}")
    print(f"{'':8} {'off':>11} {'on':>11} {'on/off':>10} {'off':>11} {'on':>11} {'on/off':>10}")
    for name in ("RS256", "ES256", "EdDSA"):
        key = Key(name, "k")
        keys = Keys(parse_key_set(json.dumps({"keys": [key.jwk()]}).encode(), frozenset(ALGORITHMS)))
        issuer = Issuer(ISSUER, frozenset({name}), Audiences.of(["orders"]), {}, 30, keys)
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": "user-1", "aud": "orders", "iat": now, "exp": now + 3600}
        tokens = [key.token(claims | {"jti": str(number)}) for number in range(TOKENS)]
        different = compare(issuer, tokens)
        same = compare(issuer, tokens[:1] * TOKENS)
        cells = [f"{off:8.1f} µs {on:8.1f} µs {on / off:10.2f}" for off, on in (different, same)]
        print(f"{name:8} {' '.join(cells)}")


def compare(issuer: Issuer, tokens: list[str]) -> tuple[float, float]:
    """Return the median microseconds to verify a token, with the cache off and on."""
    off: list[float] = []
    on: list[float] = []
    for _ in range(ROUNDS):
        for size, found in ((0, off), (1024, on)):
            found.append(measure(TokenVerifier([issuer], cache_size=size).verify, tokens))
    return statistics.median(off), statistics.median(on)


def measure(verify: Callable[[str], Any], tokens: list[str]) -> float:
    began = time.perf_counter()
    for token in tokens:
        verify(token)
    return (time.perf_counter() - began) / len(tokens) * 1e6


if __name__ == "__main__":
    main()
