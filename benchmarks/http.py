"""This application and its peers over HTTP: ``python -m benchmarks.http [--peers NAME,…] [--rounds N] [--json FILE]``

Starts the production server and every peer with two processes, and measures them in turn with wrk on 32 connections,
several interleaved rounds: without a token, with a bad signature, with valid tokens that are all different (as a
gateway mints them), and with one again and again. Prints medians, and how many times a peer's rate this application's
is. A peer that cannot be installed is named and left out; one that refuses an algorithm has no figure for it.

Needs ``wrk`` (the Debian package), and ``node`` with ``npm`` for two of the peers.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from package_tests.support.issuer import Issuer
from package_tests.support.servers import Server, clean_environment, free_port, production, wait_until_listening
from package_tests.support.signing import Key

from .peers import PEERS, install
from .processes import cpu_seconds, largest_mib

OURS = "this application"
AUDIENCE = "https://api.test/orders"
ALGORITHMS = ("RS256", "ES256", "EdDSA")
CONNECTIONS = "32"


@dataclass(frozen=True)
class Case:
    """A request to be sent, and the status that it must get.

    ``tokens`` is a file of them, ``None`` for requests without one. With ``new_connections``, each request opens one.
    """

    name: str
    tokens: Path | None
    passes: bool
    new_connections: bool = False


@dataclass(frozen=True)
class Figures:
    """Of one case: requests a second, milliseconds, processor time in microseconds a request, MiB of a process."""

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of: {', '.join(PEERS)}")
    parser.add_argument("--cases", default="", help="those whose names begin so, separated by commas; default all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    for line in install():
        print(f"not installed: {line}")
    issuer = Issuer([Key(name, f"k-{name}") for name in ALGORITHMS])
    with tempfile.TemporaryDirectory() as folder:
        wanted = tuple(options.cases.split(","))
        cases = [case for case in make_cases(issuer, Path(folder), options.tokens) if case.name.startswith(wanted)]
        servers = start(issuer, options.peers.split(","), Path(folder))
        try:
            measured = measure(servers, cases, options.rounds, options.seconds)
        finally:
            for server in servers.values():
                server.__exit__()
    show(measured)
    if options.json:
        figures = {case: {name: asdict(each) for name, each in row.items()} for case, row in measured.items()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def make_cases(issuer: Issuer, folder: Path, count: int) -> Iterable[Case]:
    print(f"minting {count} tokens of each algorithm", flush=True)
    yield Case("no token", None, False)
    for name in ALGORITHMS:
        now = int(time.time())
        claims = issuer.claims(aud=AUDIENCE, scope="read:orders", iat=now, exp=now + 7200)
        tokens = [issuer.key(name).token({**claims, "jti": str(number)}) for number in range(count)]
        if name == "RS256":
            forged = [f"{signed}.{'A' if rest[0] != 'A' else 'B'}{rest[1:]}" for signed, rest in map(_split, tokens)]
            yield Case("bad signature RS256", _written(folder / "forged", forged), False)
        yield Case(f"different {name}", _written(folder / name, tokens), True)
        same = _written(folder / f"{name}-same", tokens[:1])
        yield Case(f"same {name}", same, True)
        if name == "EdDSA":
            yield Case("new connections EdDSA", same, True, new_connections=True)


def _split(token: str) -> tuple[str, str]:
    signed, _, signature = token.rpartition(".")
    return signed, signature


def _written(path: Path, tokens: list[str]) -> Path:
    path.write_text("\n".join(tokens) + "\n")
    return path


def start(issuer: Issuer, names: list[str], folder: Path) -> dict[str, Server]:
    """Return the servers that could be started, by name, this application's first."""
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": AUDIENCE}
    servers = {OURS: production(free_port(), folder / "ours.log", **settings)}
    for name in names:
        peer, port = PEERS[name], free_port()
        variables = {"ISSUER": issuer.name, "AUDIENCE": AUDIENCE, "NODE_ENV": "production"}
        try:
            servers[name] = Server(peer.command(port), port, folder / "peer.log", variables, cwd=peer.folder)
        except OSError as error:
            print(f"left out: {name}: {error}")
    for name, server in list(servers.items()):
        try:
            wait_until_listening(server.port, server.process, server.log)
        except AssertionError as error:
            print(f"left out: {name}: {error}")
            servers.pop(name).__exit__()
    return servers


def measure(servers: dict[str, Server], cases: list[Case], rounds: int, seconds: int) -> dict[str, dict[str, Figures]]:
    """Return the medians, by case and server."""
    found: dict[str, dict[str, list[Figures]]] = {case.name: defaultdict(list) for case in cases}
    for number in range(rounds + 1):  # the first warms
        for case in cases:
            print(f"{'round ' + str(number) if number else 'warming'}: {case.name}", flush=True)
            for name, server in servers.items():
                figures = run(server, case, seconds if number else 1)
                if figures and number:
                    found[case.name][name].append(figures)
    return {case: {name: median(each) for name, each in row.items()} for case, row in found.items()}


def run(server: Server, case: Case, seconds: int) -> Figures | None:
    """Return what wrk found; ``None`` where answers are others than the case asks for."""
    url = f"http://127.0.0.1:{server.port}/protected"
    script = str(Path(__file__).with_name("wrk.lua"))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, url]
    tokens = {"TOKENS": str(case.tokens)} if case.tokens else {}
    if case.new_connections:
        tokens["NEW_CONNECTIONS"] = "1"
    before = cpu_seconds(server.process.pid)
    told = subprocess.run(command, env=clean_environment(**tokens), capture_output=True, text=True, check=True).stdout
    spent = cpu_seconds(server.process.pid) - before
    line = next(line for line in told.splitlines() if line.startswith("MEASURED"))
    requests, microseconds, p50, p99, refused, broken = (int(number) for number in line.split()[1:])
    if broken or refused != (0 if case.passes else requests):
        return None
    memory = largest_mib(server.process.pid)
    return Figures(requests / microseconds * 1e6, p50 / 1000, p99 / 1000, spent / requests * 1e6, memory)


def median(each: list[Figures]) -> Figures:
    columns = zip(*(asdict(figures).values() for figures in each), strict=True)
    return Figures(*(statistics.median(column) for column in columns))


def show(measured: dict[str, dict[str, Figures]]) -> None:
    for case, row in measured.items():
        print(f"\n{case:24} {'req/s':>9} {'ours/theirs':>12} {'p50':>9} {'p99':>9} {'CPU':>9} {'memory':>10}")
        ours = row.get(OURS)
        for name, figures in row.items():
            ratio = f"{ours.rate / figures.rate:12.2f}" if ours else f"{'':12}"
            times = f"{figures.p50:6.2f} ms {figures.p99:6.2f} ms {figures.cpu:6.0f} µs"
            print(f"  {name:22} {figures.rate:9.0f} {ratio} {times} {figures.memory:6.0f} MiB")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.pop("TOKENS", None)
    sys.exit(main())
