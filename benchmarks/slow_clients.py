"""Clients that are slow, idle or never end: ``python -m benchmarks.slow_clients [--requests N] [--hostile N]``

Starts the production server with a guarded ``POST``, and prints:

- how many of ``N`` requests succeed whose bodies come in a segment of their own, some time after their headers;
- the slowest health check beside unfinished bodies, half headers and idle connections, whether a ``POST`` succeeds
  beside them, and what they cost in memory.
"""

import argparse
import json
import resource
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from package_tests.support.issuer import Issuer
from package_tests.support.project import copy_of_the_project
from package_tests.support.servers import Server, free_port

from .peers import PEERS, install
from .processes import family, resident_mib

AUDIENCE = "https://api.test/orders"

CONTROLLER = """
from masonite.controllers import Controller
from masonite.request import Request


class EchoController(Controller):
    def show(self, request: Request):
        return request.all()
"""
ROUTE = """
from app.controllers.EchoController import EchoController

ROUTES.append(Route.post("/echo", EchoController.show).middleware("jwt"))
"""
BODY = json.dumps({"name": "0123456789"}).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3200)
    parser.add_argument("--hostile", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=8192)
    parser.add_argument("--peers", action="store_true", help="send the late bodies to two peers too")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    issuer = Issuer()
    lines = f"POST /echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {issuer.token(aud=AUDIENCE)}\r\n"
    head = f"{lines}Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        server = running.enter_context(serving(Path(folder), issuer))
        servers = {"this application": server.port}
        if options.peers:
            servers |= running.enter_context(peers(Path(folder), issuer))
        for clients, pause in ((32, 0.0), (16, 0.002), (10, 0.01), (128, 0.0), (128, 0.01), (128, 0.05)):
            for name, port in servers.items():
                began = time.perf_counter()
                count = late_bodies(port, head, clients, pause, options.requests)
                rate = sum(count.values()) / (time.perf_counter() - began)
                print(f"{clients:4} clients, body {pause * 1000:2.0f} ms late, {name}: {rate:.0f} req/s, {dict(count)}")
        beside(server, "unfinished bodies", head + BODY[:5], options.hostile, head)
        beside(server, "half headers", head[:60], options.idle, head)
        beside(server, "idle connections", b"", options.idle, head)
    issuer.close()
    return 0


@contextmanager
def peers(folder: Path, issuer: Issuer) -> Iterator[dict[str, int]]:
    """Run the peers that have a guarded ``POST /echo``, and yield their ports by name."""
    for line in install():
        print(f"not installed: {line}")
    ports = {}
    with ExitStack() as running:
        for name in ("starlette + joserfc", "fastify + jose"):
            peer, port = PEERS[name], free_port()
            variables = {"ISSUER": issuer.name, "AUDIENCE": AUDIENCE, "NODE_ENV": "production"}
            running.enter_context(Server(peer.command(port), port, folder / "peer.log", variables, cwd=peer.folder))
            ports[name] = port
        yield ports


@contextmanager
def serving(folder: Path, issuer: Issuer) -> Iterator[Server]:
    project = copy_of_the_project(folder / "project")
    (project / "app/controllers/EchoController.py").write_text(CONTROLLER)
    with open(project / "routes/web.py", "a") as routes:
        routes.write(ROUTE)
    port = free_port()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "BODY_TIMEOUT": "300"}
    with Server([sys.executable, "-m", "zuplo_origin.server"], port, folder / "log", settings, project) as server:
        time.sleep(1)  # both workers have their keys then
        yield server


def late_bodies(port: int, head: bytes, clients: int, pause: float, requests: int) -> Counter[str]:
    """Send ``requests`` from ``clients`` threads, half of them on kept connections, and count the statuses."""
    count: Counter[str] = Counter()
    lock = threading.Lock()

    def ask(keep: bool) -> None:
        connection = None
        for _ in range(requests // clients):
            try:
                if connection is None or not keep:
                    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(head)
                time.sleep(pause)
                connection.sendall(BODY)
                text = b""
                while not text.endswith(b"}"):
                    if not (received := connection.recv(65536)):
                        raise ConnectionError("closed")
                    text += received
                status = text[9:12].decode()
            except OSError as error:
                status, connection = type(error).__name__, None
            with lock:
                count[status] += 1

    threads = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count


def beside(server: Server, name: str, sent: bytes, number: int, head: bytes) -> None:
    """Open ``number`` connections that send ``sent`` and no more, and look how other clients fare."""
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
