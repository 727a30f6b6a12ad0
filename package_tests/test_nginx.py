"""The shipped configuration of nginx, with a real nginx in front of the production server."""

import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import threading
import time
from contextlib import closing

import pytest

from package_tests.support.certificates import Authority
from package_tests.support.controllers import LIMIT, Controller, is_listening, reload, serving, wait_until
from package_tests.support.servers import ROOT, free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
if NGINX is None and not os.environ.get("NGINX_REQUIRED"):
    pytest.skip("nginx is not installed", allow_module_level=True)

PROXIED = Controller(
    "ProxiedController",
    """
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
""",
    """[
    Route.post("/digest", ProxiedController.digest).middleware("jwt"),
    Route.get("/events", ProxiedController.events),
]""",
)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    """Run the production server behind nginx; yield the server, the port of nginx, its CA, and the issuer."""
    folder, https_port = tmp_path_factory.mktemp("nginx"), free_port()
    authority = Authority(folder)
    with serving(PROXIED, folder, HOST="127.0.0.1") as (server, _, issuer):
        certificate, key = authority.issue("nginx")
        (folder / "nginx.conf").write_text(configuration(folder, server.port, https_port, certificate, key))
        nginx = subprocess.Popen([NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
        try:
            wait_until(lambda: is_listening(https_port))
            yield server, https_port, authority, issuer
        finally:
            nginx.terminate()
            nginx.wait(LIMIT)


def configuration(folder, port, https_port, certificate, key):
    """Return the shipped file, with the paths and ports of the test."""
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


def connect(proxied):
    _, port, authority, _ = proxied
    context = ssl.create_default_context(cafile=str(authority.path))
    return closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=LIMIT, context=context))


def bearer(issuer):
    return {"Authorization": f"Bearer {issuer.token()}"}


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_passed_through_nginx(proxied, chunked):
    body = os.urandom(1_000_000)
    with connect(proxied) as connection:
        for _ in range(3):  # on one connection
            sent = iter([body[:400_000], body[400_000:]]) if chunked else body
            connection.request("POST", "/digest", sent, bearer(proxied[3]), encode_chunked=chunked)
            response = connection.getresponse()
            expected = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            assert (response.status, json.loads(response.read())) == (200, expected)


def test_large_body_without_a_token_is_rejected_with_a_response(proxied):
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


def test_reloads_behind_nginx_fail_no_request(proxied):
    server, failures, statuses, stopped = proxied[0], [], [], threading.Event()

    def send_requests():
        with connect(proxied) as connection:
            while not stopped.is_set():
                try:
                    connection.request("POST", "/digest", b"12345", bearer(proxied[3]))
                    response = connection.getresponse()
                    response.read()
                    statuses.append(response.status)
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))
                    connection.close()

    threads = [threading.Thread(target=send_requests) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            reload(server)
        wait_until(lambda: len(statuses) > 100 or failures)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()

    assert (failures, set(statuses)) == ([], {200})
