"""The project that uses each service, on the production server, and clients that hammer it."""

import http.client
import json
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .issuer import Issuer
from .project import copy_of_the_project
from .servers import ROOT, Server, free_port

CLIENTS = 16
SERVICES = ROOT / "package_tests" / "project_services"


def services_project(folder: Path) -> Path:
    """Copy the project of the services into `folder`, and return it."""
    project = copy_of_the_project(folder)
    shutil.copytree(SERVICES, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return project


class ServicesServer(Server):
    """The production server of that project, with 2 processes and 8 threads each, and an issuer of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.issuer, port = Issuer(), free_port()
        settings = {
            "JWT_ISSUER": self.issuer.name,
            "JWT_AUDIENCE": "*",
            "JWT_ALGORITHMS": "EdDSA",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "APP_KEY": "k" * 40,
            "PUBLIC_URL": "https://api.example.com",
            "CACHE_LOCATION": str(folder / "cache"),
        } | settings
        command = [sys.executable, "-m", "zuplo_origin.server"]
        project = services_project(folder / "project")
        self.prepare(project)
        super().__init__(command, port, folder / "log", settings, project)

    def prepare(self, project: Path) -> None:
        """Change the project before the server starts."""

    def headers(self, user: str, **headers: str) -> dict[str, str]:
        """Return headers with a token of `user`, whose account has the first letter of the name."""
        token = self.issuer.token(sub=user, account=user[0], exp=2**40)
        return {"Authorization": f"Bearer {token}"} | headers

    def json(self, path: str, user: str = "alice", **headers: str) -> tuple[int, Any]:
        status, _, body = self.get(path, self.headers(user, **headers))
        return status, json.loads(body)

    def lines(self) -> list[Any]:
        """Return the log's lines as JSON."""
        return [json.loads(line) for line in self.output().splitlines()]


def hammer(
    server: Any, count: int, path: Callable[[str, int], str], is_right: Callable[[str, int, Any], bool]
) -> Counter:
    """Send `count` requests from 16 clients at once, each with a user of its own, and count the results.

    `path` returns the path for a user and the number of the request; `is_right` is called with user, status and body.
    The keys are `right`, `wrong`, `failed` (5xx), and the statuses.
    """
    seen: Counter = Counter()
    lock = threading.Lock()

    def run(client: int) -> None:
        user = f"{'abcd'[client % 4]}-user-{client}"
        headers, results = server.headers(user), Counter[Any]()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for number in range(client, count, CLIENTS):
            connection.request("GET", path(user, number), headers=headers)
            response = connection.getresponse()
            body = json.loads(response.read() or b"null")
            results[response.status] += 1
            right = is_right(user, response.status, body)
            results["failed" if response.status >= 500 else "right" if right else "wrong"] += 1
        connection.close()
        with lock:
            seen.update(results)

    threads = [threading.Thread(target=run, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(seen[result] for result in ("right", "wrong", "failed")) == count, seen
    return seen
