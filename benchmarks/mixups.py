"""Do callers ever get another's answer? ``python -m benchmarks.mixups [--requests N]``

Two users and anonymous callers at once, from 16 connections: first at this application on its production server, then
at stock Masonite on gunicorn with threads. Prints how many answers were another caller's, and ends with 1 where one of
this application's was.
"""

import argparse
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from jose import jwt

from package_tests.support.issuer import Issuer
from package_tests.support.servers import ROOT, clean_environment, free_port

CONNECTIONS = 16
CALLERS = ("alice", "bob", "nobody")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    print(f"{options.requests} requests each, {CONNECTIONS} connections, {', '.join(CALLERS)}")
    ours = measure("this application, granian", start_ours, options.requests)
    measure("stock Masonite, gunicorn --threads 16", start_stock, options.requests)
    return 1 if ours else 0


def start_ours(port: int) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    issuer = Issuer()
    tokens = {name: issuer.token(sub=name, exp=2**40) for name in CALLERS}
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "WEB_THREADS": "16"}
    return start([sys.executable, "-m", "zuplo_origin.server"], ROOT, settings), tokens


def start_stock(port: int) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    tokens = {name: jwt.encode({"sub": name}, "k" * 32) for name in CALLERS}
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "16", "-b", f"127.0.0.1:{port}"]
    return start([*command, "wsgi:application"], ROOT / "benchmarks" / "stock", {}), tokens


def start(command: list[str], folder: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=clean_environment(**settings), stdout=quiet, stderr=quiet)


def measure(name: str, start: Callable[[int], tuple[subprocess.Popen[bytes], dict[str, str]]], requests: int) -> int:
    """Return how many answers were another caller's."""
    port = free_port()
    process, tokens = start(port)
    try:
        wait(port)
        seen: Counter[str] = Counter()
        threads = [
            threading.Thread(target=call, args=(port, n, tokens, requests // CONNECTIONS, seen))
            for n in range(CONNECTIONS)
        ]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    total = sum(seen.values())
    wrong, broken = seen["another's answer"], seen["broken"]
    share = f"{wrong / total:.2%}"
    print(f"{name}: {wrong} of {total} answers were another caller's ({share}), {broken} broken, {seconds:.0f} s")
    return wrong


def call(port: int, number: int, tokens: dict[str, str], count: int, seen: Counter[str]) -> None:
    caller = CALLERS[number % len(CALLERS)]
    anonymous = caller == "nobody"
    headers = {} if anonymous else {"Authorization": f"Bearer {tokens[caller]}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    told: Counter[str] = Counter()
    for _ in range(count):
        try:
            connection.request("GET", "/protected", headers=headers)
            answer = connection.getresponse()
            body = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            told["broken"] += 1
            connection.close()
            continue
        subject = (body.get("user") or {}).get("sub")
        right = (answer.status, subject) == ((401, None) if anonymous else (200, caller))
        told["right" if right else "broken" if answer.status >= 500 else "another's answer"] += 1
    seen.update(told)


def wait(port: int) -> None:
    for _ in range(300):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/protected")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not listen")


if __name__ == "__main__":
    sys.exit(main())
