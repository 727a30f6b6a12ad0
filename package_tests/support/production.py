"""The production server of the project of the tests, with workers that have keys, and its clients."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .controllers import wait_until
from .issuer import Issuer
from .servers import Server, free_port, production

SETTINGS = {"WEB_CONCURRENCY": "2", "WEB_THREADS": "8", "JWT_AUDIENCE": "https://api.test/*"}


@contextmanager
def ready_server(gateway: Issuer, folder: Path, **settings: str) -> Iterator[Server]:
    """Run the production server; its workers have keys when the block begins."""
    with production(free_port(), folder / "log", **SETTINGS | {"JWT_ISSUER": gateway.name} | settings) as server:
        try:
            wait_until(lambda: "server_ready" in server.output() or server.process.poll() is not None)
        finally:
            assert "server_ready" in server.output(), server.output()
        yield server


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def request_on(connection, token):
    """Send one request, and return its status and whether the server keeps the connection."""
    connection.request("GET", "/protected", headers=bearer(token))
    response = connection.getresponse()
    response.read()
    return response.status, response.getheader("Connection") != "close"


class Clients:
    """Clients that send requests as fast as they can, on connections that they keep, until they are stopped.

    With `leave`, a client ends when its connection is closed, as a load balancer does that has another server.
    """

    def __init__(self, port, token, number=8, leave=False):
        self._leave = leave
        self.statuses, self.failures, self.stopped = [], [], threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port, token)) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _run(self, port, token):
        while not self.stopped.is_set():
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    return  # the server has stopped accepting
                try:
                    kept = True
                    while kept and not self.stopped.is_set():
                        status, kept = request_on(connection, token)
                        self.statuses.append(status)
                    if self._leave:
                        return
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))

    def wait_for_responses(self, number=100):
        before = len(self.statuses)
        wait_until(lambda: len(self.statuses) > before + number)

    def stop(self):
        self.stopped.set()
        for thread in self._threads:
            thread.join()
