"""The time of a request besides its signature: ``python -m benchmarks.in_process [--rounds N] [--json FILE]``

Calls the WSGI application without a server: a route without a guard, 404, 401 without a token, and a guarded route with
different tokens and with one repeated token. Compares them with ``cryptography`` alone verifying the same signatures.
Prints medians of interleaved rounds in microseconds, and ratios. The application verifies Ed25519 with libsodium, so a
whole request may take less time than ``cryptography`` alone.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from package_tests.support.issuer import Issuer
from package_tests.support.signing import Key, unb64
from package_tests.support.wsgi_client import environ

ALGORITHMS = ("RS256", "ES256", "EdDSA")
REQUESTS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    issuer = Issuer([Key(name, f"k-{name}") for name in ALGORITHMS])
    application = start(issuer)
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(options.rounds):
        for name, microseconds in one_round(issuer, application, number):
            taken[name].append(microseconds)
    medians = {name: statistics.median(each) for name, each in taken.items()}
    ratios = {"401 / unguarded": medians["401, no token"] / medians["unguarded"]}
    for name in ALGORITHMS:
        ratios[f"fresh {name} / raw {name}"] = medians[f"fresh {name}"] / medians[f"raw {name}"]
        ratios[f"cached {name} / unguarded"] = medians[f"cached {name}"] / medians["unguarded"]
    for name, median in medians.items():
        print(f"{name:28} {median:8.1f} µs")
    for name, ratio in ratios.items():
        print(f"{name:28} {ratio:8.2f}")
    if options.json:
        options.json.write_text(json.dumps({"microseconds": medians, "ratios": ratios}, indent=2) + "\n")


def start(issuer: Issuer) -> Any:
    """Return the application as a production server starts it. Its log goes to /dev/null."""
    os.environ.update(APP_ENV="production", JWT_ISSUER=issuer.name, JWT_AUDIENCE="https://api.test/*")
    standard_error, sys.stderr = sys.stderr, open(os.devnull, "w")  # noqa: SIM115
    from wsgi import application

    sys.stderr = standard_error
    while call(application, [environ("GET", "/health/ready")])[0] != "200 OK":
        time.sleep(0.01)
    return application


def one_round(issuer: Issuer, application: Any, number: int) -> Iterable[tuple[str, float]]:
    """Yield each case's name and its microseconds for one request."""
    yield "unguarded", measure(application, "/health/live", [None] * REQUESTS, "200 OK")
    yield "404", measure(application, "/nope", [None] * REQUESTS, "404 Not Found")
    yield "401, no token", measure(application, "/protected", [None] * REQUESTS, "401 Unauthorized")
    for name in ALGORITHMS:
        tokens = [issuer.token(name, jti=f"{number}-{n}", exp=2**40, scope="read:orders") for n in range(REQUESTS)]
        yield f"raw {name}", measure_raw(issuer.key(name), tokens)
        yield f"fresh {name}", measure(application, "/protected", tokens, "200 OK")
        again = tokens[:1] * REQUESTS
        yield f"cached {name}", measure(application, "/protected", again, "200 OK")


def call(application: Any, environs: Iterable[dict[str, Any]]) -> list[str]:
    statuses: list[str] = []
    for each in environs:
        application(each, lambda status, headers: statuses.append(status))
    return statuses


def measure(application: Any, path: str, tokens: list[str | None], expected: str) -> float:
    environs = [environ("GET", path, {"Authorization": f"Bearer {token}"} if token else None) for token in tokens]
    began = time.perf_counter()
    statuses = call(application, environs)
    taken = time.perf_counter() - began
    if set(statuses) != {expected}:
        raise SystemExit(f"{path}: expected {expected}, not {set(statuses)}")
    return taken / len(tokens) * 1e6


def measure_raw(key: Key, tokens: list[str]) -> float:
    parts = []
    for token in tokens:
        signed, _, signature = token.rpartition(".")
        parts.append((unb64(signature), signed.encode()))
    verify = raw_verification(key)
    began = time.perf_counter()
    for signature, signed in parts:
        verify(signature, signed)
    return (time.perf_counter() - began) / len(tokens) * 1e6


def raw_verification(key: Key) -> Callable[[bytes, bytes], Any]:
    """Return a function that verifies a signature with ``cryptography`` alone."""
    public = key.private.public_key()
    if key.algorithm == "RS256":
        return lambda signature, signed: public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    if key.algorithm == "ES256":
        return lambda signature, signed: public.verify(
            utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")),
            signed,
            ec.ECDSA(hashes.SHA256()),
        )
    return public.verify  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
