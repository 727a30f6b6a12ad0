"""Rotations, outages and floods together: ``python -m benchmarks.keys_long_run [--minutes N]``

Runs the production server with one worker and the default settings. Its issuer rotates its keys every 20 s, publishes
each key a minute before signing with it, and responds with 500 for 20 s of every minute. Sixteen connections send valid
tokens, two send unknown key ids, and two send bad signatures under real key ids. Prints the number of responses by
status, the time of valid ones, the number of fetches, and the memory of the worker over time. Exits with 1 if a valid
token was rejected, if a bad signature got another status than 401, or if there were more fetches in a cooldown window
than two for keys and a scheduled one. ``--quiet`` sends valid tokens alone, for comparison.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import quantiles

from package_tests.support.issuer import Issuer, send
from package_tests.support.servers import Server, free_port, production
from package_tests.support.signing import Key

ROTATION, AHEAD, OUTAGE, COOLDOWN = 20, 60, 20, 10


class Gateway:
    """An issuer that rotates its keys and has outages."""

    def __init__(self) -> None:
        self.issuer = Issuer([])
        self.issuer.behave = self.respond
        self.made: list[Key] = []
        self.began = time.monotonic()
        self.fetched: list[float] = []
        self.failed = 0

    def now(self) -> float:
        return time.monotonic() - self.began

    def key(self, number: int) -> Key:
        while len(self.made) <= number:
            self.made.append(Key("ES256", f"k-{len(self.made)}"))
        return self.made[number]

    def respond(self, handler: object) -> None:
        self.fetched.append(self.now())
        minute, second = divmod(self.now(), 60)
        begins = 10 + 7 * minute % 30  # a different second in each minute, so that some fetches fail
        if begins <= second < begins + OUTAGE:
            self.failed += 1
            send(handler, 500, b"")  # type: ignore[arg-type]
            return
        turn = int(self.now() // ROTATION)
        published = range(max(0, turn - 1), turn + AHEAD // ROTATION + 2)
        self.issuer.keys = [self.key(number) for number in published]
        send(handler, 200, json.dumps(self.issuer.key_set()).encode())  # type: ignore[arg-type]

    def token(self) -> str:
        return self.key(int(self.now() // ROTATION)).token(self.issuer.claims())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--quiet", action="store_true")
    arguments = parser.parse_args()
    seconds = arguments.minutes * 60
    gateway = Gateway()
    valid: Counter[int] = Counter()
    unknown: Counter[int] = Counter()
    forged: Counter[int] = Counter()
    times: list[float] = []
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = {"JWT_ISSUER": gateway.issuer.name, "JWT_AUDIENCE": "*", "WEB_CONCURRENCY": "1", "WEB_THREADS": "16"}
        with production(free_port(), Path(folder) / "log", **settings) as server:
            senders = [(valid, gateway.token, times)] * 16
            if not arguments.quiet:
                senders += [(unknown, unknown_keys(gateway), []), (forged, bad_signatures(gateway), [])] * 2
            threads = [
                threading.Thread(target=send_all, args=(server, gateway, seconds, *sender)) for sender in senders
            ]
            for thread in threads:
                thread.start()
            while gateway.now() < seconds:
                time.sleep(min(15, max(0.1, seconds - gateway.now())))
                memory.append(resident(server))
            for thread in threads:
                thread.join()
    return report(gateway, valid, unknown, forged, times, memory, seconds)


def unknown_keys(gateway: Gateway) -> Callable[[], str]:
    """Return a function that returns a token with a key id that was never published."""
    key, numbers = Key("ES256", "unknown"), count()
    return lambda: key.token(gateway.issuer.claims(), kid=f"unknown-{next(numbers)}")


def bad_signatures(gateway: Gateway) -> Callable[[], str]:
    """Return a function that returns a token of another key under the key id of the one that signs now."""
    forger = Key("ES256", "forger")
    return lambda: forger.token(gateway.issuer.claims(), kid=gateway.key(int(gateway.now() // ROTATION)).kid)


def send_all(
    server: Server,
    gateway: Gateway,
    seconds: float,
    seen: Counter[int],
    make: Callable[[], str],
    times: list[float],
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    statuses: Counter[int] = Counter()
    while gateway.now() < seconds:
        token, began = make(), time.perf_counter()
        connection.request("GET", "/protected", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        response.read()
        times.append(time.perf_counter() - began)
        statuses[response.status] += 1
        time.sleep(0.01)
    seen.update(statuses)


def resident(server: Server) -> float:
    """Return the resident memory of the workers in MiB."""
    pages = sum(int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in server.children())
    return pages * 4096 / 2**20


def report(
    gateway: Gateway,
    valid: Counter[int],
    unknown: Counter[int],
    forged: Counter[int],
    times: list[float],
    memory: list[float],
    seconds: float,
) -> int:
    fetched = gateway.fetched
    busiest = max(sum(1 for other in fetched if start <= other < start + COOLDOWN) for start in fetched)
    middle, slow = (1000 * quantiles(times, n=100)[place] for place in (49, 98))
    print(f"{seconds:.0f} s, {int(seconds // ROTATION)} rotations, {int(seconds // 60)} outages of {OUTAGE} s")
    print(f"valid tokens: {dict(valid)}, median {middle:.1f} ms, p99 {slow:.1f} ms")
    print(f"unknown key ids: {dict(unknown)}")
    print(f"bad signatures: {dict(forged)}")
    print(f"fetches: {len(fetched)}, failed {gateway.failed}, at most {busiest} in any {COOLDOWN} s")
    print(f"resident memory in MiB: {', '.join(f'{one:.1f}' for one in memory)}")
    return 1 if set(valid) != {200} or set(forged) - {401} or busiest > 3 else 0


if __name__ == "__main__":
    sys.exit(main())
