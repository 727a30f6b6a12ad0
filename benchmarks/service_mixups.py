"""Count pages, mails, files and jobs that are those of another request.

``python -m benchmarks.service_mixups [--requests N] [--services pages,mails,files,jobs]``

16 clients send requests over 16 connections to the production server (two processes with eight threads each): first
with the services of `zuplo_origin.services`, then with the classes of Masonite itself. Mails go to a real SMTP server
on loopback. Exits with 1 if the services of this application mix anything, lose anything, or fail.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from email.utils import parseaddr
from pathlib import Path

from package_tests.support.controllers import wait_until
from package_tests.support.hammer import CLIENTS, everyone, hammer
from package_tests.support.issuer import Issuer
from package_tests.support.servers import Server, free_port
from package_tests.support.service_project import APP_KEY, migrate, service_project
from package_tests.support.smtp import SmtpServer


def pages(server: Server, smtp: SmtpServer, project: Path, count: int) -> tuple[Counter, int]:
    seen = hammer(
        server.port, "/page?", count, lambda body, user, number: body.strip() == f"<p>{user} {number} {user}</p>"
    )
    return seen, seen["wrong"]


def mails(server: Server, smtp: SmtpServer, project: Path, count: int) -> tuple[Counter, int]:
    smtp.mails.clear()
    seen = hammer(server.port, "/mail?", count)
    received: Counter = Counter()
    wrong = 0
    for mail in smtp.mails:
        user, _, number = str(mail.message["Subject"]).partition(" ")
        received[user, number] += 1
        to = f"{user}@example.com"
        is_right = mail.recipients == [to] and parseaddr(mail.message["To"])[1] == to
        is_right = is_right and f"{user} {number} {user}".encode() in mail.content
        wrong += not is_right
    return seen, wrong + different(received, everyone(count))


def files(server: Server, smtp: SmtpServer, project: Path, count: int) -> tuple[Counter, int]:
    disks = ("local", "other")

    def check(body: str, user: str, number: str) -> bool:
        return bool(json.loads(body) == {disk: f"{disk} {user} {number}" for disk in disks})

    seen = hammer(server.port, "/store?", count, check)
    wrong = seen["wrong"]
    for disk in disks:
        found = list((project / "storage" / disk).glob("user*/*"))
        wrong += sum(path.read_text() != f"{disk} {path.parent.name} {path.name}" for path in found)
        wrong += different(Counter((path.parent.name, path.name) for path in found), everyone(count))
    return seen, wrong


def jobs(server: Server, smtp: SmtpServer, project: Path, count: int) -> tuple[Counter, int]:
    notes = project / "storage/notes"
    notes.unlink(missing_ok=True)
    seen = hammer(server.port, "/push?driver=async&", count)
    end = time.monotonic() + 30
    ran: Counter = Counter()
    while time.monotonic() < end and sum(ran.values()) < seen[200]:
        lines = notes.read_text().splitlines() if notes.exists() else []
        ran = Counter((line.split(" ")[1], line.split(" ")[2]) for line in lines)
        time.sleep(0.2)
    return seen, different(ran, everyone(count))


def different(found: Counter, expected: Counter) -> int:
    """Return how many are missing, or there more than once."""
    return sum(((found - expected) + (expected - found)).values())


SERVICES: dict[str, Callable[[Server, SmtpServer, Path, int], tuple[Counter, int]]] = {
    "pages": pages,
    "mails": mails,
    "files": files,
    "jobs": jobs,
}


def measure(kind: str, names: list[str], requests: int, folder: Path) -> int:
    """Return the number of mix-ups, losses and errors."""
    project, issuer, port, total = service_project(folder / kind), Issuer(), free_port(), 0
    migrate(project, MAIL_PORT="1")
    with SmtpServer() as smtp:
        settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "APP_KEY": APP_KEY, "SERVICES": kind}
        settings |= {"PORT": str(port), "MAIL_PORT": str(smtp.port), "SHUTDOWN_DRAIN": "0"}
        command = [sys.executable, "-m", "zuplo_origin.server"]
        with Server(command, port, folder / f"{kind}.log", settings, project) as server:
            wait_until(lambda: "server_ready" in server.output())
            for name in names:
                began = time.monotonic()
                seen, wrong = SERVICES[name](server, smtp, project, requests // CLIENTS)
                failed = sum(number for status, number in seen.items() if status not in (200, "wrong"))
                seconds = time.monotonic() - began
                print(
                    f"{kind}: {name}: {wrong} wrong, missing or doubled, {failed} failed, {seconds:.0f} s", flush=True
                )
                total += wrong + failed
    issuer.close()
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--services", default=",".join(SERVICES))
    options = parser.parse_args()
    names = options.services.split(",")
    with tempfile.TemporaryDirectory() as folder:
        ours = measure("ours", names, options.requests, Path(folder))
        measure("stock", names, min(options.requests, 4000), Path(folder))
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main())
