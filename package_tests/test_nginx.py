"""The shipped configuration of nginx, with a real nginx in front of the production server."""

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from package_tests.support.certificates import Authority
from package_tests.support.issuer import Issuer
from package_tests.support.project import copy_of_the_project
from package_tests.support.servers import ROOT, Server, free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
if NGINX is None and not os.environ.get("NGINX_REQUIRED"):
    pytest.skip("nginx is not installed", allow_module_level=True)

CONTROLLER = """
import hashlib
import time

from masonite.controllers import Controller
from masonite.request import Request


class ProxiedController(Controller):
    def digest(self, request: Request):
        body = request.environ["wsgi.input"].read()
        return {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}

    def events(self):
        for number in range(5):
            yield f"data: {number}\\n\\n"
            time.sleep(0.3)
"""
ROUTES = """
from app.controllers.ProxiedController import ProxiedController

ROUTES += [
    Route.post("/digest", ProxiedController.digest).middleware("jwt"),
    Route.get("/events", ProxiedController.events),
]
"""


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    """The production server behind nginx: the server, nginx' port, its CA, and an issuer."""
    folder = tmp_path_factory.mktemp("nginx")
    project = copy_of_the_project(folder / "project")
    (project / "app/controllers/ProxiedController.py").write_text(CONTROLLER)
    with open(project / "routes/web.py", "a") as routes:
        routes.write(ROUTES)
    issuer, port, https_port = Issuer(), free_port(), free_port()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "HOST": "127.0.0.1"}
    command = [sys.executable, "-m", "zuplo_origin.server"]
    authority = Authority(folder)
    certificate, key = authority.issue("nginx")
    (folder / "nginx.conf").write_text(configuration(folder, port, https_port, certificate, key))
    with Server(command, port, folder / "log", settings, project) as server:
        nginx = subprocess.Popen([NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
        try:
            wait_until(lambda: can_connect(https_port))
            wait_until(lambda: "server_ready" in server.output())
            yield server, https_port, authority, issuer
        finally:
            nginx.terminate()
            nginx.wait(10)
    issuer.close()


def configuration(folder, port, https_port, certificate, key):
    """The shipped file, with the paths and ports of the test."""
    shipped = (ROOT / "deploy/nginx.conf").read_text()
    for pattern, value in (
        (r"server 127\.0\.0\.1:8000;", f"server 127.0.0.1:{port};"),
        (r"listen 443 ssl;", f"listen 127.0.0.1:{https_port} ssl;"),
        (r"listen \[::\]:443 ssl;", ""),
        (r"ssl_certificate \S+;", f"ssl_certificate {certificate};"),
        (r"ssl_certificate_key \S+;", f"ssl_certificate_key {key};"),
    ):
        shipped, found = re.subn(pattern, value, shipped)
        assert found == 1, pattern
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
access_log off;
{paths}
{shipped}
}}
"""


def can_connect(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def connect(proxied):
    _, port, authority, _ = proxied
    context = ssl.create_default_context(cafile=str(authority.path))
    return closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context))


def bearer(issuer):
    return {"Authorization": f"Bearer {issuer.token()}"}


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_pass_unbuffered(proxied, chunked):
    body = os.urandom(1_000_000)
    with connect(proxied) as connection:
        for _ in range(3):  # on one connection
            sent = iter([body[:400_000], body[400_000:]]) if chunked else body
            connection.request("POST", "/digest", sent, bearer(proxied[3]), encode_chunked=chunked)
            response = connection.getresponse()
            expected = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            assert (response.status, json.loads(response.read())) == (200, expected)


def test_a_large_body_without_a_token_is_rejected_with_a_response(proxied):
    with connect(proxied) as connection:
        connection.request("POST", "/digest", b"x" * 10_000_000)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (401, {"error": "No token provided"})


def test_streamed_events_arrive_one_by_one(proxied):
    with connect(proxied) as connection:
        connection.request("GET", "/events")
        response = connection.getresponse()
        began = time.monotonic()
        assert response.readline() == b"data: 0\n"
        first = time.monotonic() - began
        response.read()
        assert time.monotonic() - began > first + 0.9  # the last ones came later


def test_reloads_fail_no_request(proxied):
    server, failures, answered, stopped = proxied[0], [], [], threading.Event()

    def hammer():
        with connect(proxied) as connection:
            while not stopped.is_set():
                try:
                    connection.request("POST", "/digest", b"12345", bearer(proxied[3]))
                    response = connection.getresponse()
                    response.read()
                    answered.append(response.status)
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))
                    connection.close()

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in (1, 2):
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda number=number: server.output().count("reload_done") == number and len(server.children()) == 1)
    stopped.set()
    for thread in threads:
        thread.join()

    assert (failures, set(answered)) == ([], {200}) and len(answered) > 100
