"""Clients that are slow, idle or never end: ``python -m benchmarks.slow_clients [--requests N] [--hostile N]``

Starts the production server with a guarded ``POST``, and prints:

- how many of ``N`` requests succeed whose bodies come in a segment of their own, some time after their headers;
- beside unfinished bodies, half headers and idle connections: the slowest health check, whether a ``POST`` succeeds,
  and the memory that they take.
"""

import argparse
import asyncio
import itertools
import resource
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from package_tests.support.controllers import ECHO, serving
from package_tests.support.servers import Server

from .http import BODY, post_head, send_posts
from .processes import family, resident_mib


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3200)
    parser.add_argument("--hostile", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=8192)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(ECHO, Path(folder), WEB_CONCURRENCY="2", BODY_TIMEOUT="300") as (server, _, issuer),
    ):
        head = post_head(issuer.token(exp=int(time.time()) + 7200))
        for clients, pause in ((32, 0.0), (16, 0.002), (10, 0.01), (128, 0.0), (128, 0.01), (128, 0.05)):
            began = time.perf_counter()
            statuses = late_bodies(server.port, head, clients, pause, options.requests)
            rate = statuses.total() / (time.perf_counter() - began)
            print(f"{clients:4} clients, body {pause * 1000:2.0f} ms late: {rate:.0f} req/s, {dict(statuses)}")
        beside(server, "unfinished bodies", head + BODY[:5], options.hostile, head)
        beside(server, "half headers", head[:60], options.idle, head)
        beside(server, "idle connections", b"", options.idle, head)
    return 0


def late_bodies(port: int, head: bytes, clients: int, pause: float, requests: int) -> Counter[str]:
    """Send ``requests`` from ``clients``, half of them on kept connections, and count the statuses."""
    left = iter(range(requests))
    more = lambda: next(left, None) is not None  # noqa: E731
    return asyncio.run(send_posts(port, itertools.repeat(head), clients, more, pause, new_connections=True)).statuses


def beside(server: Server, name: str, sent: bytes, number: int, head: bytes) -> None:
    """Open ``number`` connections that send ``sent`` and no more, and measure requests of other clients."""
    workers = family(server.process.pid)[1:]
    before = sum(map(resident_mib, workers))
    with ExitStack() as opened:
        for _ in range(number):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            connection.sendall(sent)
        slowest, posts = 0.0, Counter[str]()
        for _ in range(50):
            began = time.perf_counter()
            status, _, _ = server.get("/health/live")
            slowest = max(slowest, time.perf_counter() - began if status == 200 else 60.0)
            posts.update(late_bodies(server.port, head, 1, 0.0, 1))
        grown = sum(map(resident_mib, workers)) - before
    print(f"{number} {name}: health checks {slowest * 1000:.0f} ms at most, POST {dict(posts)}, {grown:+.1f} MiB")


if __name__ == "__main__":
    sys.exit(main())
