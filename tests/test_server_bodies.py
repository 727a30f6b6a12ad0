"""Bodies on the production server, for a controller that reads them: in both of its modes."""

import json
import shutil
import socket
import sys
from contextlib import contextmanager

import pytest

from tests.support.issuer import Issuer
from tests.support.servers import ROOT, Server, free_port

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


@contextmanager
def serving(folder, header, threads):
    """The server of a copy of the project that has one controller more, and the lines of a request to it."""
    for name in ("app", "config", "routes", "deploy"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("wsgi.py", "Kernel.py"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "app/controllers/EchoController.py").write_text(CONTROLLER)
    with open(folder / "routes/web.py", "a") as routes:
        routes.write(ROUTE)
    issuer, port = Issuer(), free_port()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "JWT_HEADER": header, "PORT": str(port)}
    settings |= {"WEB_CONCURRENCY": "1", "WEB_THREADS": threads}
    lines = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{header}: Bearer "
    with Server([sys.executable, "-m", "deploy.server"], port, folder / "log", settings, folder) as server:
        yield server, f"{lines}{issuer.token()}\r\nConnection: close\r\n".encode()
    issuer.close()


@pytest.fixture(scope="module", params=["Authorization", "X-Service-Token"])
def echo(request, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("echo"), request.param, "4") as running:
        yield running


def test_a_single_thread_reads_bodies_too(tmp_path):
    with serving(tmp_path, "Authorization", "1") as (server, lines):
        answer = server.raw(lines + b'Content-Length: 7\r\n\r\n{"a":1}')

    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b'Content-Length: 10\r\n\r\n{"a": "b"}',
        b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n6\r\n: "b"}\r\n0\r\n\r\n',
    ],
)
def test_a_body_is_read_with_and_without_a_stated_length(echo, body):
    server, lines = echo
    answer = server.raw(lines + body)

    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"a": "b"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'Content-Length: 9\r\n\r\n{"a": "b"', b"400"),
        (b"Content-Length: 2000000\r\n\r\n{}", b"413"),
        (b"Content-Length: 1\r\n\r\n1", b"400"),
    ],
)
def test_a_body_that_is_none_is_told(echo, body, status):
    server, lines = echo

    assert server.raw(lines + body).split(b" ")[1] == status


def test_a_body_that_ends_early_is_no_mistake_of_the_application(echo):
    server, lines = echo
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(lines + b"Content-Length: 100\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)

    assert answer == b"" or b" 400 " in answer
    assert "Traceback" not in server.output()


def test_bodies_that_do_not_arrive_hold_up_nobody_else(echo):
    server, lines = echo
    stalled = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(12)]
    for connection in stalled:
        connection.sendall(lines + b'Content-Length: 100\r\n\r\n{"a":')
    answered = []
    for connection in stalled:
        connection.settimeout(1)
        try:
            answered.append(connection.recv(65536).split(b" ")[1])
        except TimeoutError:
            answered.append(None)
    live = server.get("/health/live")
    for connection in stalled:
        connection.close()

    assert live[0] == 200
    assert (answered.count(b"503"), answered.count(None)) == (10, 2)  # half of four threads wait
