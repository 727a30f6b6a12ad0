"""Rotations, outages and unknown keys together: ``python -m benchmarks.keys_long_run [--minutes N]``

Runs the production server with one worker and the default settings. Its issuer rotates its keys every 20 s, publishes
each key a minute before signing with it, and responds with 500 for 20 s of every minute. Sixteen connections send valid
tokens, and two send unknown key ids. Prints the number of responses by status, the number of fetches, and the memory of
the worker over time. Exits with 1 if a valid token was rejected, or if there were more fetches in a cooldown window
than two for unknown keys and a scheduled one.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from package_tests.support.issuer import Issuer, send
from package_tests.support.servers import Server, free_port, production
from package_tests.support.signing import Key

ROTATION, AHEAD, OUTAGE, COOLDOWN = 20, 60, 20, 30


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
    seconds = parser.parse_args().minutes * 60
    gateway = Gateway()
    valid: Counter[int] = Counter()
    flood: Counter[int] = Counter()
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = {"JWT_ISSUER": gateway.issuer.name, "JWT_AUDIENCE": "*", "WEB_CONCURRENCY": "1", "WEB_THREADS": "16"}
        with production(free_port(), Path(folder) / "log", **settings) as server:
            threads = [threading.Thread(target=send_valid, args=(server, gateway, seconds, valid)) for _ in range(16)]
            threads += [threading.Thread(target=send_unknown, args=(server, gateway, seconds, flood)) for _ in range(2)]
            for thread in threads:
                thread.start()
            while gateway.now() < seconds:
                time.sleep(min(15, max(0.1, seconds - gateway.now())))
                memory.append(resident(server))
            for thread in threads:
                thread.join()
    return report(gateway, valid, flood, memory, seconds)


def send_valid(server: Server, gateway: Gateway, seconds: float, seen: Counter[int]) -> None:
    send_all(server, gateway, seconds, seen, gateway.token)


def send_unknown(server: Server, gateway: Gateway, seconds: float, seen: Counter[int]) -> None:
    unknown = Key("ES256", "unknown")
    count = iter(range(10**9))
    send_all(
        server, gateway, seconds, seen, lambda: unknown.token(gateway.issuer.claims(), kid=f"unknown-{next(count)}")
    )


def send_all(server: Server, gateway: Gateway, seconds: float, seen: Counter[int], make) -> None:  # type: ignore[no-untyped-def]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    statuses: Counter[int] = Counter()
    while gateway.now() < seconds:
        connection.request("GET", "/protected", headers={"Authorization": f"Bearer {make()}"})
        response = connection.getresponse()
        response.read()
        statuses[response.status] += 1
        time.sleep(0.01)
    seen.update(statuses)


def resident(server: Server) -> float:
    """Return the resident memory of the workers in MiB."""
    pages = sum(int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in server.children())
    return pages * 4096 / 2**20


def report(gateway: Gateway, valid: Counter[int], flood: Counter[int], memory: list[float], seconds: float) -> int:
    fetched = gateway.fetched
    busiest = max(sum(1 for other in fetched if start <= other < start + COOLDOWN) for start in fetched)
    print(f"{seconds:.0f} s, {int(seconds // ROTATION)} rotations, {int(seconds // 60)} outages of {OUTAGE} s")
    print(f"valid tokens: {dict(valid)}")
    print(f"unknown key ids: {dict(flood)}")
    print(f"fetches: {len(fetched)}, failed {gateway.failed}, at most {busiest} in any {COOLDOWN} s")
    print(f"resident memory in MiB: {', '.join(f'{one:.1f}' for one in memory)}")
    return 1 if set(valid) != {200} or busiest > 3 else 0


if __name__ == "__main__":
    sys.exit(main())
