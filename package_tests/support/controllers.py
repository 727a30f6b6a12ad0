"""The production server, run in copies of the project that have one more controller."""

import http.client
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .issuer import Issuer
from .project import copy_of_the_project
from .servers import Server, free_port

LIMIT = 60.0
"""Seconds that a test waits for a condition. It fails after them, so they are more than a loaded machine needs."""


class Controller(NamedTuple):
    """A controller: the name of its class, its module, and its routes, a list in Python."""

    name: str
    source: str
    routes: str


ECHO = Controller(
    "EchoController",
    """
from masonite.controllers import Controller
from masonite.request import Request


class EchoController(Controller):
    def show(self, request: Request):
        return request.all()
""",
    """[
    Route.post("/echo", EchoController.show).middleware("jwt"),
    Route.post("/open", EchoController.show),
]""",
)
"""Returns the fields of its request: ``POST /echo`` is guarded, ``POST /open`` is not."""
VERSION = Controller(
    "VersionController",
    """
from masonite.controllers import Controller


class VersionController(Controller):
    def show(self):
        return {"version": 1}
""",
    '[Route.get("/version", VersionController.show)]',
)
"""Returns a number that :func:`write_version` changes."""


def project_with(controller: Controller, folder: Path) -> Path:
    """Copy the project into `folder`, add a controller, and return the folder."""
    project = copy_of_the_project(folder)
    (project / f"app/controllers/{controller.name}.py").write_text(controller.source)
    with open(project / "routes/web.py", "a") as routes:
        routes.write(f"\nfrom app.controllers.{controller.name} import {controller.name}\n")
        routes.write(f"\nROUTES += {controller.routes}\n")
    return project


def write_version(project: Path, version: int) -> None:
    source = VERSION.source.replace('"version": 1', f'"version": {version}')
    (project / f"app/controllers/{VERSION.name}.py").write_text(source)


def start(project: Path, log: Path, **settings: str) -> Server:
    """Start the production server in `project`, on a free port unless `PORT` is among the settings."""
    settings = {"JWT_AUDIENCE": "*", "PORT": str(free_port())} | settings
    command = [sys.executable, "-m", "zuplo_origin.server"]
    return Server(command, int(settings["PORT"]), log, settings, project)


@contextmanager
def serving(
    controller: Controller, folder: Path, without: Sequence[str] = (), **settings: str
) -> Iterator[tuple[Server, Path, Issuer]]:
    """Start a server with a controller more and an issuer of its own; yield it when all its workers are ready.

    An import of a module in `without` fails in the server.
    """
    project, issuer = project_with(controller, folder / "project"), Issuer()
    for module in without:
        (project / f"{module}.py").write_text(f"raise ImportError({module!r})\n")
    try:
        with start(project, folder / "log", JWT_ISSUER=issuer.name, **settings) as server:
            wait_until(lambda: "server_ready" in server.output())
            yield server, project, issuer
    finally:
        issuer.close()


def reload(server: Server, outcome: str = "reload_done") -> None:
    """Reload a server, and wait until its log has one `outcome` more and the other server has ended."""
    before = server.output().count(outcome)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.output().count(outcome) > before and len(server.children()) == 1)


def wait_until(condition: Callable[[], object], seconds: float = LIMIT) -> None:
    """Poll until `condition` holds; fail if it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.02)


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0


def connect(port: int) -> socket.socket:
    """Connect to a server on loopback. What is sent in separate calls is sent in separate segments."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_response(connection: socket.socket) -> tuple[int, bytes]:
    """Read one response, and return its status and its body."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def exchange(port: int, pieces: Sequence[bytes], pause: float = 0.0) -> tuple[int, bytes]:
    """Send `pieces` on a new connection, `pause` seconds apart, and return the status and the body of the response."""
    with connect(port) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        return read_response(connection)
