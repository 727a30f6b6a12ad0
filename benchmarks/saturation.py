"""Measure the production server under overload.

``python -m benchmarks.saturation [--seconds N]``

The load is wrk with 32 connections, which saturate the server; then two wrk with 512 each; then one again, with 1,000
idle connections and 50 clients that send one byte per second. Another client requests ``/health/live`` all the time.
Prints requests per second, the median and the slowest health check, the responses other than 200, and the memory of
the largest process.

Needs ``wrk`` (the Debian package).
"""

import argparse
import http.client
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from package_tests.support.issuer import Issuer
from package_tests.support.servers import Server, clean_environment, free_port, production
from package_tests.support.signing import Key

from .processes import largest_mib

IDLE, SLOW = 1000, 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    issuer = Issuer([Key("EdDSA", "k-EdDSA")])
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens"
        minted = [issuer.token(jti=str(number), exp=2**40) for number in range(20_000)]
        tokens.write_text("\n".join(minted) + "\n")
        settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "https://api.test/*"}
        with production(free_port(), Path(folder) / "log", **settings) as server:
            load(server, tokens, [32], 2)
            report("32 connections", server, tokens, [32], options.seconds)
            report("twice 512 connections", server, tokens, [512, 512], options.seconds)
            report("32 connections, again", server, tokens, [32], options.seconds)
            with beside_others(server):
                report(f"beside {IDLE} idle, {SLOW} slow", server, tokens, [32], options.seconds)
    return 0


def report(name: str, server: Server, tokens: Path, connections: list[int], seconds: int) -> None:
    taken: list[float] = []
    ended = threading.Event()
    checks = threading.Thread(target=check_health, args=(server.port, taken, ended))
    checks.start()
    rate, other = load(server, tokens, connections, seconds)
    ended.set()
    checks.join()
    slowest, median = max(taken) * 1000, statistics.median(taken) * 1000
    memory = largest_mib(server.process.pid)
    health = f"health {median:6.1f} ms, slowest {slowest:6.1f} ms of {len(taken)}"
    print(f"{name:26} {rate:7.0f} req/s, {other} not 200; {health}; {memory:.0f} MiB", flush=True)


def load(server: Server, tokens: Path, connections: list[int], seconds: int) -> tuple[float, int]:
    """Run wrk for each number of ``connections``. Return requests per second, and the number of responses not 200."""
    script = str(Path(__file__).with_name("wrk.lua"))
    url = f"http://127.0.0.1:{server.port}/protected"
    running = []
    for count in connections:
        command = ["wrk", "-t1", f"-c{count}", f"-d{seconds}s", "-s", script, url]
        environment = clean_environment(TOKENS=str(tokens))
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    rate, other = 0.0, 0
    for process in running:
        output, _ = process.communicate()
        line = next(line for line in output.splitlines() if line.startswith("MEASURED"))
        requests, microseconds, _, _, other_status, failed = (int(number) for number in line.split()[1:])
        rate, other = rate + requests / microseconds * 1e6, other + other_status + failed
    return rate, other


def check_health(port: int, taken: list[float], ended: threading.Event) -> None:
    """Append the seconds of each health check, on a connection of its own; 60 if it does not return 200."""
    while not ended.wait(0.05):
        began = time.perf_counter()
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
                connection.request("GET", "/health/live")
                is_ok = connection.getresponse().status == 200
        except OSError:
            is_ok = False
        taken.append(time.perf_counter() - began if is_ok else 60.0)


@contextmanager
def beside_others(server: Server) -> Iterator[None]:
    ended = threading.Event()
    with ExitStack() as opened:
        for _ in range(IDLE):
            opened.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        slow = threading.Thread(target=dribble, args=(server.port, ended))
        slow.start()
        yield
        ended.set()
        slow.join()


def dribble(port: int, ended: threading.Event) -> None:
    """Send the headers of 50 requests, one byte of each per second. Reconnect when the server disconnects."""
    request = b"GET /protected HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 3600
    clients: dict[int, socket.socket] = {}
    sent = dict.fromkeys(range(SLOW), 0)
    while not ended.is_set():
        for number in range(SLOW):
            try:
                if number not in clients:
                    clients[number], sent[number] = socket.create_connection(("127.0.0.1", port)), 0
                clients[number].send(request[sent[number] : sent[number] + 1])
                sent[number] += 1
            except OSError:
                clients.pop(number).close()
        ended.wait(1)
    for client in clients.values():
        client.close()


if __name__ == "__main__":
    sys.exit(main())
