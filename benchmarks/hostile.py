"""Hostile load beside honest clients: ``python -m benchmarks.hostile [--minutes N]``

Eight honest clients send GET, POST, uploads of 300 KB, and read streams, on the production server with two workers.
After a quiet part (a sixth of the time), other processes attack: clients that drip headers, send half bodies, never
read their responses, flood without a token, send forged tokens and unknown key ids, and send malformed requests. They
stand for other machines, so they run at the lowest priority, and use the processor time that the server leaves.

Prints, for both parts, the requests of the honest clients, how many failed, their median and 99th percentile, and the
memory of the server. Exits with 1 if an honest request failed.
"""

import argparse
import http.client
import multiprocessing
import os
import random
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from package_tests.support.controllers import Controller, serving
from package_tests.support.issuer import Issuer
from package_tests.support.servers import Server
from package_tests.support.signing import Key

from .processes import family, resident_mib
from .raw_mutations import exchange, mutated, requests

HONEST = Controller(
    "EchoController",
    """
from masonite.controllers import Controller
from masonite.request import Request


class EchoController(Controller):
    def show(self, request: Request):
        return {"size": len(request.body())}

    def rows(self):
        for number in range(2000):
            yield "%099d\\n" % number
""",
    """[
    Route.post("/echo", EchoController.show).middleware("jwt"),
    Route.post("/open", EchoController.show).middleware("public"),
    Route.get("/rows", EchoController.rows).middleware("jwt"),
]""",
)
CLIENTS = 8
UPLOAD = b"x" * 300_000
PAUSE = 0.02
"""Seconds between two requests of a client: the machine shall not be busy with them alone."""


class Honest:
    """The honest clients, each with a connection that it keeps, and what they have seen."""

    def __init__(self, port: int, issuer: Issuer) -> None:
        self._port, self._issuer = port, issuer
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def run(self, seconds: float) -> None:
        for thread in self._threads:
            thread.start()
        time.sleep(seconds)
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        kinds = [("GET", "/protected", None), ("POST", "/echo", b"{}"), ("POST", "/echo", UPLOAD)]
        kinds += [("GET", "/rows", None)]
        while not self._stopped.wait(PAUSE):
            method, path, body = kinds[number % len(kinds)]
            number += 1
            headers = {"Authorization": f"Bearer {self._issuer.token()}", "Content-Type": "application/octet-stream"}
            began = time.perf_counter()
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                text = response.read()
                is_whole = path != "/rows" or len(text) == 200_000
                if response.status != 200 or not is_whole:
                    self.failures.append(f"{method} {path}: {response.status}, {len(text)} bytes")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{method} {path}: {error!r}")
                connection.close()
            self.seconds.append(time.perf_counter() - began)

    def report(self, name: str, server: Server) -> float:
        slowest = statistics.quantiles(self.seconds, n=100)[98]
        memory = sum(map(resident_mib, family(server.process.pid)))
        median = statistics.median(self.seconds) * 1000
        print(
            f"{name}: {len(self.seconds)} honest requests, {len(self.failures)} failed; median {median:.1f} ms, "
            f"p99 {slowest * 1000:.1f} ms; {memory:.0f} MiB {self.failures[:3] or ''}",
            flush=True,
        )
        return slowest


def start(attack: Callable[..., None], *arguments: object) -> None:
    os.nice(19)
    attack(*arguments)


def hold(port: int, end: float, number: int, first: bytes, drip: bytes) -> None:
    """Keep `number` connections open that have sent `first`, and send `drip` on each every second."""
    clients: list[socket.socket] = []
    while time.time() < end:
        while len(clients) < number:
            with suppress(OSError):
                clients.append(socket.create_connection(("127.0.0.1", port), timeout=5))
                clients[-1].sendall(first)
                clients[-1].setblocking(False)
        time.sleep(1)
        for client in list(clients):
            try:
                client.send(drip)
            except BlockingIOError:
                continue
            except OSError:
                clients.remove(client)
                client.close()


def flood(port: int, end: float, make: Callable[[random.Random], bytes]) -> None:
    chance = random.Random(port)
    while time.time() < end:
        exchange(port, make(chance), chance)
        time.sleep(PAUSE)


def attacks(token: str) -> list[tuple[Callable[..., None], tuple[object, ...]]]:
    get = b"GET /protected HTTP/1.1\r\nHost: x\r\n"
    half = b"POST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{"
    head, body, _ = token.split(".")
    forged = get + f"Authorization: Bearer {head}.{body}.{'A' * 86}\r\n\r\n".encode()
    other = Key("EdDSA", "unknown")
    seeds = requests(token)
    return [
        (hold, (200, get + b"X-A: ", b"a")),
        (hold, (100, half, b"a")),
        (hold, (50, b"", (b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20))),
        (flood, (lambda chance: b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n" * 5,)),
        (flood, (lambda chance: forged,)),
        (flood, (lambda chance: unknown(other, token, chance),)),
        (flood, (lambda chance: mutated(chance.choice(seeds), chance),)),
    ]


def unknown(key: Key, token: str, chance: random.Random) -> bytes:
    """Return a request with a token of an unknown key."""
    forged = key.token({"iss": "http://127.0.0.1", "n": chance.random()}, kid=str(chance.random()))
    return f"GET /protected HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {forged}\r\n\r\n".encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    seconds = options.minutes * 60
    with tempfile.TemporaryDirectory() as folder, serving(HONEST, Path(folder), WEB_STREAMS="8") as (server, _, issuer):
        quiet = Honest(server.port, issuer)
        quiet.run(seconds / 6)
        usual = quiet.report("quiet", server)
        fork = multiprocessing.get_context("fork")
        end = time.time() + seconds * 5 / 6
        processes = [
            fork.Process(target=start, args=(attack, server.port, end, *arguments), daemon=True)
            for attack, arguments in attacks(issuer.token(exp=int(time.time()) + 7200))
        ]
        for process in processes:
            process.start()
        failures = []
        for part in ("first half under attack", "second half under attack"):
            honest = Honest(server.port, issuer)
            honest.run(max(0.0, end - time.time()) / (2 if part.startswith("first") else 1) - 1)
            slowest = honest.report(part, server)
            failures += honest.failures
            print(f"    p99 is {slowest / usual:.1f} times the quiet one")
        for process in processes:
            process.kill()
        print("the log has a traceback" if "Traceback" in server.output() else "no traceback in the log")
    return 1 if failures or quiet.failures else 0


if __name__ == "__main__":
    sys.exit(main())
