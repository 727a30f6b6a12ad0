"""This application and its peers over HTTP: ``python -m benchmarks.http [--peers NAME,…] [--rounds N] [--json FILE]``

Starts the production server and every peer with two processes, each of which writes one line of access log for each
response. Measures them in turn, in several interleaved rounds, and prints medians and the ratio of this application's
rate to each peer's:

- ``GET`` with wrk on 32 connections: without a token, with a bad signature, with valid tokens that are all different
  (as a gateway mints them), and with one token again and again;
- ``POST`` on 32 connections, with different tokens and 22 bytes of JSON that follow the headers in a segment of their
  own. wrk cannot send it so; the client is a program in Python, which shares the processors with the server, so that
  ratios are closer to 1 than with wrk. The column CPU does not include it.

Then it opens 128 connections to each, uses them once, leaves them idle, sends a ``POST`` on all of them at once, and
prints how many succeed.

A peer that cannot be installed is named and left out; one without a route or an algorithm has no figure for it.

Needs ``wrk`` (the Debian package), and ``node`` with ``npm`` for two of the peers.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from package_tests.support.controllers import ECHO, project_with
from package_tests.support.controllers import start as start_production
from package_tests.support.issuer import Issuer
from package_tests.support.servers import Server, clean_environment, free_port, wait_until_listening
from package_tests.support.signing import Key

from .peers import PEERS, install
from .processes import cpu_seconds, largest_mib

OURS = "this application"
AUDIENCE = "https://api.test/orders"
ALGORITHMS = ("RS256", "ES256", "EdDSA")
CONNECTIONS, POOL = 32, 128
BODY = b'{"name": "0123456789"}'
TIMEOUT = 30.0
"""Seconds after which a response counts as missing."""


@dataclass(frozen=True)
class Case:
    """A request, and whether it must be accepted.

    ``tokens`` is a file with a token in each line; ``None`` for requests without a token. With ``new_connections``,
    each request opens one.
    """

    name: str
    tokens: Path | None
    is_accepted: bool
    new_connections: bool = False
    method: str = "GET"


@dataclass(frozen=True)
class Figures:
    """Results of a case: requests per second, milliseconds, CPU microseconds per request, MiB of a process."""

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of: {', '.join(PEERS)}")
    parser.add_argument("--cases", default="", help="prefixes of their names, separated by commas; default all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--idle", type=int, default=6, help="seconds that the pools are idle")
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
            head = post_head(issuer.token("RS256", aud=AUDIENCE, exp=int(time.time()) + 7200))
            print("idle pools", flush=True)
            idle = {name: asyncio.run(use_idle_pool(each.port, head, options.idle)) for name, each in servers.items()}
        finally:
            for server in servers.values():
                server.__exit__()
    show(measured)
    print(f"\n{POOL} connections, idle for {options.idle} s, then a POST on each at once: succeeded, and others")
    for name, statuses in idle.items():
        others = {status: number for status, number in statuses.items() if status != "200"}
        print(f"  {name:22} {statuses['200']:9} {others or ''}")
    if options.json:
        figures: dict[str, object] = {
            case: {name: asdict(each) for name, each in row.items()} for case, row in measured.items()
        }
        options.json.write_text(json.dumps(figures | {"idle pools": idle}, indent=2) + "\n")
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
        different = _written(folder / name, tokens)
        yield Case(f"different {name}", different, True)
        if name == "RS256":
            yield Case("POST different RS256", different, True, method="POST")
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
    """Start this application and its peers, and return those that started, by name."""
    project, settings = project_with(ECHO, folder / "project"), {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": AUDIENCE}
    servers = {OURS: start_production(project, folder / "ours.log", **settings)}
    for name in names:
        peer, port = PEERS[name], free_port()
        variables = {"ISSUER": issuer.name, "AUDIENCE": AUDIENCE, "NODE_ENV": "production"}
        try:
            servers[name] = Server(peer.command(port), port, folder / f"{name}.log", variables, cwd=peer.folder)
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
    for number in range(rounds + 1):  # the first warms up
        for case in cases:
            print(f"{'round ' + str(number) if number else 'warming up'}: {case.name}", flush=True)
            for name, server in servers.items():
                figures = run(server, case, seconds if number else 1)
                if figures and number:
                    found[case.name][name].append(figures)
                elif number:
                    print(f"  no figure for {name}: some responses are missing, or not as expected")
    return {case: {name: median(each) for name, each in row.items()} for case, row in found.items()}


def run(server: Server, case: Case, seconds: int) -> Figures | None:
    """Return the figures; ``None`` if a response is not what the case expects."""
    before = cpu_seconds(server.process.pid)
    client = run_posts if case.method == "POST" else run_wrk
    requests, duration, p50, p99, rejected, failed = client(server, case, seconds)
    spent = cpu_seconds(server.process.pid) - before
    if failed or not requests or rejected != (0 if case.is_accepted else requests):
        return None
    return Figures(requests / duration, p50, p99, spent / requests * 1e6, largest_mib(server.process.pid))


Outcome = tuple[int, float, float, float, int, int]
"""Requests, seconds, two percentiles in milliseconds, error statuses, and requests without a response."""


def run_wrk(server: Server, case: Case, seconds: int) -> Outcome:
    url = f"http://127.0.0.1:{server.port}/protected"
    script = str(Path(__file__).with_name("wrk.lua"))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, url]
    settings = {"TOKENS": str(case.tokens)} if case.tokens else {}
    if case.new_connections:
        settings["NEW_CONNECTIONS"] = "1"
    ended = subprocess.run(command, env=clean_environment(**settings), capture_output=True, text=True, check=True)
    line = next(line for line in ended.stdout.splitlines() if line.startswith("MEASURED"))
    requests, microseconds, p50, p99, rejected, failed = (int(number) for number in line.split()[1:])
    return requests, microseconds / 1e6, p50 / 1000, p99 / 1000, rejected, failed


def run_posts(server: Server, case: Case, seconds: int) -> Outcome:
    assert case.tokens is not None
    heads = itertools.cycle([post_head(token) for token in case.tokens.read_text().split()])
    end = time.monotonic() + seconds
    posts = asyncio.run(send_posts(server.port, heads, CONNECTIONS, lambda: time.monotonic() < end))
    milliseconds = sorted(1000 * each for each in posts.seconds)
    p50, p99 = (milliseconds[int(len(milliseconds) * share)] for share in (0.5, 0.99))
    rejected = sum(number for status, number in posts.statuses.items() if status.isdigit() and status != "200")
    failed = posts.statuses.total() - rejected - posts.statuses["200"]
    return len(milliseconds), seconds, p50, p99, rejected, failed


def post_head(token: str) -> bytes:
    """Return the headers of a ``POST /echo`` with ``BODY``."""
    lines = f"POST /echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    return f"{lines}Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


@dataclass
class Posts:
    """Statuses, or the errors in their place, and the seconds that each request took."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def send_posts(
    port: int,
    heads: Iterator[bytes],
    connections: int,
    goes_on: Callable[[], bool],
    pause: float = 0.0,
    new_connections: bool = False,
) -> Posts:
    """Send ``POST`` requests on all connections, one after the other on each, while ``goes_on`` returns true.

    The body follows ``pause`` seconds after the headers. With ``new_connections``, every second client opens a
    connection for each request.
    """
    posts = Posts()

    async def send(is_kept: bool) -> None:
        streams: Streams | None = None
        while goes_on():
            began = time.perf_counter()
            try:
                streams = streams or await asyncio.open_connection("127.0.0.1", port)
                status, is_open = await exchange(streams, next(heads), pause)
            except OSError as error:  # of the new connection
                status, is_open = type(error).__name__, False
            posts.seconds.append(time.perf_counter() - began)
            posts.statuses[status] += 1
            if streams is not None and is_open and not is_kept:
                streams[1].close()
            streams = streams if is_open and is_kept else None
        if streams is not None:
            streams[1].close()

    await asyncio.gather(*(send(not new_connections or number % 2 == 0) for number in range(connections)))
    return posts


async def exchange(streams: Streams, head: bytes, pause: float = 0.0) -> tuple[str, bool]:
    """Send a request; return the status or the error, and whether the connection is still open."""
    reader, writer = streams
    overdue = asyncio.get_running_loop().call_later(TIMEOUT, writer.transport.abort)
    try:
        writer.write(head)  # sent at once, as asyncio does while nothing waits to be sent; so is the body
        if pause:
            await asyncio.sleep(pause)
        writer.write(BODY)
        lines = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: *(\d+)", lines)
        assert length is not None, lines
        await reader.readexactly(int(length[1]))
        status, can_keep = lines[9:12].decode(), b"connection: close" not in lines
    except (OSError, EOFError) as error:
        status, can_keep = type(error).__name__, False
    finally:
        overdue.cancel()
    if not can_keep:
        writer.close()  # gunicorn waits for it
    return status, can_keep


async def use_idle_pool(port: int, head: bytes, seconds: float) -> Counter[str]:
    """Use connections once, leave them idle, send a request on all of them at once, and count the statuses."""
    pool = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(POOL)))
    first = await asyncio.gather(*(exchange(streams, head) for streams in pool))
    kept = [streams for streams, (_, can_keep) in zip(pool, first, strict=True) if can_keep]
    await asyncio.sleep(seconds)
    second = await asyncio.gather(*(exchange(streams, head) for streams in kept))
    for _, writer in kept:
        writer.close()
    statuses = Counter(status for status, _ in second)
    return statuses + Counter({"closed after the first response": len(pool) - len(kept)})


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
