"""Count responses that belong to another caller.

``python -m benchmarks.mixups [--requests N]``

Two users and anonymous callers send requests at once over 16 connections: first to this application on its production
server, then to stock Masonite on gunicorn with threads. Prints the number of responses that belong to another caller,
and exits with 1 if this application sent one.
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
CALLERS = ("alice", "bob", "anonymous")


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
    """Return the number of responses that belong to another caller."""
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
    wrong, failed = seen["wrong"], seen["failed"]
    share = f"{wrong / total:.2%}"
    print(f"{name}: {wrong} of {total} responses belong to another caller ({share}), {failed} failed, {seconds:.0f} s")
    return wrong


def call(port: int, number: int, tokens: dict[str, str], count: int, seen: Counter[str]) -> None:
    caller = CALLERS[number % len(CALLERS)]
    anonymous = caller == "anonymous"
    headers = {} if anonymous else {"Authorization": f"Bearer {tokens[caller]}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    results: Counter[str] = Counter()
    for _ in range(count):
        try:
            connection.request("GET", "/protected", headers=headers)
            response = connection.getresponse()
            body = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            results["failed"] += 1
            connection.close()
            continue
        subject = (body.get("user") or {}).get("sub")
        is_right = (response.status, subject) == ((401, None) if anonymous else (200, caller))
        results["right" if is_right else "failed" if response.status >= 500 else "wrong"] += 1
    seen.update(results)


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
