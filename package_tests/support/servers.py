"""Servers in processes of their own."""

import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from zuplo_origin.settings import is_setting

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "package_tests" / "project"
"""The project that the tests serve: the product's own, not the application in the root folder."""
PREFIXES = ("DEVELOPMENT_", "GATEWAY_", "JWKS_", "JWT_", "OTEL_", "PROMETHEUS_", "TLS_", "WEB_")


def is_configuration(name: str) -> bool:
    """Return whether the variable `name` configures the application, or would be reported as an unknown setting."""
    return is_setting(name) or name.startswith(PREFIXES) or name == "DATABASE_URL"


PORTS = 10_000, 32_000
"""Below the ports that Linux gives to connections: none of them takes a port before its server listens."""


def free_port() -> int:
    """Return a port that is free, and the next one too, which no other test of this machine gets for a long time."""
    first, last = PORTS
    with open(Path(tempfile.gettempdir()) / f"package-tests-port-{os.getuid()}", "a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)  # until the file is closed: several processes run tests
        counter.seek(0)
        port = int(counter.read() or first + os.getpid() % 10_000 * 2)
        while True:
            port = port + 2 if port + 3 < last else first
            if _is_free(port) and _is_free(port + 1):
                break
        counter.truncate(0)
        counter.write(str(port))
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def clean_environment(**settings: str) -> dict[str, str]:
    """Return the environment with `settings` alone, in which every project imports the product from this repository."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not is_configuration(name) and not name.startswith("PYTEST_")
    }
    return kept | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)} | settings


class Server:
    """A server process whose output goes to a file. The end of a `with` block kills it; ``stop`` sends TERM."""

    def __init__(
        self, command: list[str], port: int, log: Path, settings: Mapping[str, str], cwd: Path = PROJECT
    ) -> None:
        self.port, self.log = port, log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                # a killed server leaves its folder of metrics in it
                env=clean_environment(**{"TMPDIR": str(log.parent)} | dict(settings)),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "Server":
        try:
            wait_until_listening(self.port, self.process, self.log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the workers too
        self.process.wait(5)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def children(self) -> list[str]:
        """Return the ids of its child processes."""
        return _children(str(self.process.pid))

    def workers(self) -> set[str]:
        """Return the ids of the production server's workers."""
        return {worker for server in self.children() for worker in _children(server)}

    def output(self) -> str:
        return self.log.read_text()

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> tuple[int, dict, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def raw(self, request: bytes) -> bytes:
        """Send the bytes of a request, and return all bytes of the response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            response = b""
            while chunk := connection.recv(65536):
                response += chunk
            return response


def _children(process: str) -> list[str]:
    try:
        return Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except FileNotFoundError:
        return []


def wait_until_listening(port: int, process: subprocess.Popen, log: Path, seconds: float = 30) -> None:
    """Return when `/health/live` responds. Raise ``AssertionError`` with the log if it does not in `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"the server ended: {log.read_text()}")
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/health/live")
                connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the server does not listen: {log.read_text()}")


def production(port: int, log: Path, **settings: str) -> Server:
    """Return the server that the Procfile starts, in the project of the tests."""
    procfile = (ROOT / "Procfile").read_text()
    command = procfile.removeprefix("web: ").split()
    assert command[0] == "python"
    return Server([sys.executable, *command[1:]], port, log, {"PORT": str(port)} | settings)
