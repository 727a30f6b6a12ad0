"""Requests that fail during reloads and stops: ``python -m benchmarks.reload [--reloads N] [--seconds N]``

Starts a copy of this application on its production server, under two kinds of clients: some keep their connections,
the others open one for each request. Each reload (HUP) is given new code, whose response shows that it is the new
code that answers. Then there are two servers, and one of them is told to stop (TERM). As behind a load balancer, its
clients go to the other one when a response says ``Connection: close``, or a connection is refused. Prints, for each
kind of client, the requests and those that failed: connections that were reset or closed without a response, and
statuses other than 200.
"""

import argparse
import multiprocessing
import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from package_tests.support.issuer import Issuer
from package_tests.support.project import copy_of_the_project
from package_tests.support.servers import Server, free_port

CONTROLLER = """
from masonite.controllers import Controller


class VersionController(Controller):
    def show(self):
        return {"version": VERSION}
"""
ROUTE = """
from app.controllers.VersionController import VersionController

ROUTES.append(Route.get("/version", VersionController.show))
"""
REQUEST = b"GET /version HTTP/1.1\r\nHost: x\r\n%s\r\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0, help="between two reloads")
    options = parser.parse_args()
    issuer = Issuer()
    with tempfile.TemporaryDirectory() as folder:
        project = copy_of_the_project(Path(folder) / "project")
        with open(project / "routes/web.py", "a") as routes:
            routes.write(ROUTE)
        write(project, 0)
        settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*"}
        reload(project, settings, options.reloads, options.seconds)
        stop(project, settings, options.seconds)
    issuer.close()
    return 0


def write(project: Path, version: int) -> None:
    path = project / "app/controllers/VersionController.py"
    path.write_text(CONTROLLER.replace("VERSION", str(version)))


def start(project: Path, settings: dict[str, str], port: int, name: str) -> Server:
    command = [sys.executable, "-m", "zuplo_origin.server"]
    return Server(command, port, project.parent / f"{name}.log", settings | {"PORT": str(port)}, project)


def reload(project: Path, settings: dict[str, str], reloads: int, seconds: float) -> None:
    port = free_port()
    with start(project, settings, port, "reload") as server, Clients(port) as clients:
        for version in range(1, reloads + 1):
            time.sleep(seconds)
            write(project, version)
            server.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + 60
            while server.output().count("reload_done") < version or len(server.children()) > 1:
                if time.monotonic() > end:
                    sys.exit(f"reload {version} did not end:\n{server.output()}")
                time.sleep(0.05)
            if (answered := version_of(port)) != version:
                sys.exit(f"after reload {version}, version {answered} answered")
    clients.show(f"{reloads} reloads")


def stop(project: Path, settings: dict[str, str], seconds: float) -> None:
    ports = [free_port(), free_port()]
    with (
        start(project, settings, ports[0], "leaving") as leaving,
        start(project, settings, ports[1], "other"),
        Clients(*ports) as clients,
    ):
        time.sleep(seconds)
        began = time.monotonic()
        leaving.process.send_signal(signal.SIGTERM)
        leaving.process.wait(30)
        ended = time.monotonic() - began
        time.sleep(1)
    clients.show(f"stop of one of two servers (ended after {ended:.1f} s)")


def version_of(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(REQUEST % b"Connection: close\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b""))
    found = re.search(rb'"version":(\d+)', text)
    return int(found[1]) if found else -1


class Clients:
    """Processes of clients, from the beginning of the block to its end."""

    KINDS = ("kept", "new")

    def __init__(self, *ports: int, each: int = 4) -> None:
        self._stopped = multiprocessing.Event()
        self._counts: Any = multiprocessing.Queue()
        self._processes = [
            multiprocessing.Process(target=ask, args=(kind, ports, self._stopped, self._counts), daemon=True)
            for kind in self.KINDS
            for _ in range(each)
        ]
        self._found: dict[str, Counter[str]] = {kind: Counter() for kind in self.KINDS}

    def __enter__(self) -> "Clients":
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        for _ in self._processes:
            kind, count = self._counts.get(timeout=60)
            self._found[kind].update(count)
        for process in self._processes:
            process.join()
        self._processes = []

    def show(self, what: str) -> None:
        for kind, count in self._found.items():
            failed = {name: number for name, number in count.items() if name != "200"}
            print(
                f"{what}, {kind} connections: {count['200']:8} answered, {sum(failed.values())} failed {failed or ''}"
            )


def ask(kind: str, ports: Sequence[int], stopped: Event, counts: Any) -> None:
    """Send requests one after the other until ``stopped``, and count what came of them."""
    count: Counter[str] = Counter()
    turn = 0
    while not stopped.is_set():
        turn += 1
        try:
            connection = socket.create_connection(("127.0.0.1", ports[turn % len(ports)]), timeout=30)
        except OSError as error:
            if len(ports) == 1 or not isinstance(error, ConnectionRefusedError):
                count[type(error).__name__] += 1
            continue
        with connection:
            while not stopped.is_set():
                try:
                    connection.sendall(REQUEST % (b"" if kind == "kept" else b"Connection: close\r\n"))
                    text = b""
                    while b'"version":' not in text or not text.endswith(b"}"):
                        received = connection.recv(65536)
                        if not received:
                            raise ConnectionError
                        text += received
                except OSError as error:
                    count[type(error).__name__] += 1
                    break
                count[text[9:12].decode()] += 1
                if b"connection: close" in text:
                    break
    counts.put((kind, count))


if __name__ == "__main__":
    sys.exit(main())
