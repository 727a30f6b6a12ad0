"""Coverage-guided fuzzing of parsing and verification: ``python -m package_tests.fuzz_tokens --seconds 60``

For any input, a token is accepted or rejected with a reason, and a key set and a header are parsed or rejected. Any
other exception ends the run, and prints its input. Needs ``requirements-fuzz.txt``.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["zuplo_origin.encoding", "zuplo_origin.jwt", "zuplo_origin.jwks", "zuplo_origin.guard"]
):
    from zuplo_origin.encoding import has_nonfinite
    from zuplo_origin.guard import token_from
    from zuplo_origin.jwks.algorithms import ALGORITHMS
    from zuplo_origin.jwks.failures import BadKeySet
    from zuplo_origin.jwks.keys import parse_key_set
    from zuplo_origin.jwt.claims import Audiences
    from zuplo_origin.jwt.reasons import Rejected
    from zuplo_origin.jwt.verifier import Issuer, TokenVerifier

from package_tests.support.corpus import cases
from package_tests.support.issuer import Issuer as Gateway
from package_tests.support.signing import b64, unb64

ISSUER = "https://gw.example"
ALLOWED = frozenset(ALGORITHMS)
HEADER = {"alg": "ES256", "kid": "k", "typ": "JWT"}


class AcceptingKeys:
    """Keys that accept any signature, so that the rules after the signature are reached."""

    def find(self, kid: str | None, algorithm: str, tried: tuple[object, ...] = ()) -> "tuple[AcceptingKeys]":
        return (self,)

    def generation(self) -> int:
        return 1

    def verify(self, msg: bytes, sig: bytes) -> bool:
        return True


VERIFIER = TokenVerifier(
    [Issuer(ISSUER, ALLOWED, Audiences.of(["orders", "https://gw.example/*"]), {"plan": "gold"}, 30, AcceptingKeys())],
    cache_size=64,
)


def one_input(data: bytes) -> None:
    """Check one input. Its first byte is the kind of the others."""
    kind, rest = data[:1], data[1:]
    if kind == b"k":
        check_key_set(rest)
        return
    if kind == b"h":
        check_token(f"{b64(rest)}.{b64(b'{}')}.")
    elif kind == b"p":
        check_token(f"{b64(json.dumps(HEADER).encode())}.{b64(rest)}.AA")
    elif kind == b"c":
        claims = b'{"iss":"https://gw.example","aud":"orders","plan":"gold","exp":9007199254740991,' + rest + b"}"
        check_token(f"{b64(json.dumps(HEADER).encode())}.{b64(claims)}.AA")
    else:
        check_header(rest.decode("latin-1"))


def check_token(text: str) -> None:
    for _ in range(3):  # from the second time on, it may be cached
        try:
            claims = VERIFIER.verify(text)
        except Rejected:
            return
        assert claims["iss"] == ISSUER and claims["plan"] == "gold"
        assert abs(claims["exp"]) < 2**53 and claims["exp"] > time.time() - 31
        assert not has_nonfinite(claims)
        json.dumps(claims, ensure_ascii=False, allow_nan=False).encode()
        head, body, signature = text.split(".")
        assert all(b64(unb64(part)) == part for part in (head, body, signature))


def check_header(value: str) -> None:
    for scheme in ("Bearer", ""):
        try:
            token = token_from(value, scheme)
        except Rejected:
            continue
        assert token and not set(token) & set(" \t,")
        check_token(token)


def check_key_set(body: bytes) -> None:
    try:
        key_set = parse_key_set(body, ALLOWED)
    except BadKeySet:
        return
    assert key_set.keys
    for key in key_set.keys:
        for verifier in key.verifiers.values():
            assert not verifier.verify(b"data", b"signature")


def seeds(folder: Path) -> None:
    """Write the tokens of the corpus as the first inputs of the fuzzer."""
    gateway = Gateway()
    found = [b"k" + json.dumps({"keys": [key.jwk()]}).encode() for key in gateway.keys]
    for case in cases(gateway):
        header = (case.header or "").encode("latin-1", "replace")[:4000]
        found.append(b"t" + header)
        parts = header.removeprefix(b"Bearer ").split(b".")
        if len(parts) == 3:
            for kind, part in ((b"h", parts[0]), (b"p", parts[1])):
                try:
                    found.append(kind + unb64(part.decode()))
                except ValueError:
                    continue
    found += [b'c"nbf":1', b'c"aud":["x"]', b'c"cnf":{}', b'c"n":1e999', b'c"x":"\\udc00"', b'c"scope":"a b"']
    for number, seed in enumerate(found):
        (folder / str(number)).write_bytes(seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        seeds(Path(folder))
        arguments = [f"-max_total_time={options.seconds}", "-max_len=9000", "-timeout=5", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *arguments, f"-artifact_prefix={tempfile.gettempdir()}/", folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
