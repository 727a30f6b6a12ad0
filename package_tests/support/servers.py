"""Real servers, in processes of their own."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGURES = (
    "APP_",
    "BODY_",
    "DEVELOPMENT_",
    "HEALTH_",
    "HOST",
    "MAX_",
    "KEEP_",
    "SEND_",
    "SHUTDOWN_",
    "TLS_",
    "UPLOAD_",
    "JWKS_",
    "JWT_",
    "METRICS_",
    "OTEL_",
    "PORT",
    "PROMETHEUS_",
    "PUBLIC_",
    "WEB_",
)
"""How the names of variables begin that configure the application."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment without anything that configures the application, and with `settings`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*CONFIGURES, "PYTEST_"))}
    return kept | {"PYTHONUNBUFFERED": "1"} | settings


class Server:
    """A server process, its output in a file. Leaving the block ends it, at once; ``stop`` does as an operator does."""

    def __init__(self, command: list[str], port: int, log: Path, settings: Mapping[str, str], cwd: Path = ROOT) -> None:
        self.port, self.log = port, log
        self._out = open(log, "wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=clean_environment(**settings),
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> "Server":
        wait_until_listening(self.port, self.process, self.log)
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # with those that it started
        self.process.wait(5)
        self._out.close()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def children(self) -> list[str]:
        """The ids of the processes that it started."""
        return _children(str(self.process.pid))

    def workers(self) -> set[str]:
        """The ids of the production server's workers: those that its servers have forked."""
        return {worker for server in self.children() for worker in _children(server)}

    def output(self) -> str:
        return self.log.read_text()

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> tuple[int, dict, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are, and return all of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer


def _children(process: str) -> list[str]:
    try:
        return Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except FileNotFoundError:
        return []


def wait_until_listening(port: int, process: subprocess.Popen, log: Path, seconds: float = 30) -> None:
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
    """The server of the Procfile."""
    procfile = (ROOT / "Procfile").read_text()
    command = procfile.removeprefix("web: ").split()
    assert command[0] == "python"
    return Server([sys.executable, *command[1:]], port, log, {"PORT": str(port)} | settings)
