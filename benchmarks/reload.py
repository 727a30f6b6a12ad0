"""Requests that fail during reloads and stops: ``python -m benchmarks.reload [--reloads N] [--seconds N]``

Starts a copy of this application on its production server, under two kinds of clients: some keep their connections,
the others open one for each request. Each reload (HUP) loads new code, and the response shows that it runs. Then there
are two servers, and one of them is stopped (TERM). As behind a load balancer, its clients use the other one when a
response says ``Connection: close``, or a connection cannot be opened. Prints, for each kind of client, the number of
requests and of those that failed: connections that were reset or closed without a response, and statuses other than
200.
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

from package_tests.support import controllers
from package_tests.support.controllers import VERSION, project_with, start, write_version
from package_tests.support.issuer import Issuer

REQUEST = b"GET /version HTTP/1.1\r\nHost: x\r\n%s\r\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0, help="between two reloads")
    options = parser.parse_args()
    issuer = Issuer()
    with tempfile.TemporaryDirectory() as folder:
        project = project_with(VERSION, Path(folder) / "project")
        reload(project, issuer, options.reloads, options.seconds)
        stop(project, issuer, options.seconds)
    issuer.close()
    return 0


def reload(project: Path, issuer: Issuer, reloads: int, seconds: float) -> None:
    log = project.parent / "reload.log"
    with start(project, log, JWT_ISSUER=issuer.name) as server, Clients(server.port) as clients:
        for version in range(2, reloads + 2):  # the first server has version 1
            time.sleep(seconds)
            write_version(project, version)
            controllers.reload(server)
            if (served := version_of(server.port)) != version:
                sys.exit(f"version {served} responds after the reload to version {version}")
    clients.show(f"{reloads} reloads")


def stop(project: Path, issuer: Issuer, seconds: float) -> None:
    with (
        start(project, project.parent / "stopped.log", JWT_ISSUER=issuer.name) as stopped,
        start(project, project.parent / "other.log", JWT_ISSUER=issuer.name) as other,
        Clients(stopped.port, other.port) as clients,
    ):
        time.sleep(seconds)
        began = time.monotonic()
        stopped.process.send_signal(signal.SIGTERM)
        stopped.process.wait(30)
        ended = time.monotonic() - began
        time.sleep(1)  # clients use the other server
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
            multiprocessing.Process(target=send_requests, args=(kind, ports, self._stopped, self._counts), daemon=True)
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
                f"{what}, {kind} connections: {count['200']:8} succeeded, {sum(failed.values())} failed {failed or ''}"
            )


def send_requests(kind: str, ports: Sequence[int], stopped: Event, counts: Any) -> None:
    """Send requests one after the other until ``stopped``, and count statuses and errors."""
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
