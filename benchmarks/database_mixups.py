"""Count transfers that are lost or doubled, accounts of another owner, and errors, under transactions that fail.

``python -m benchmarks.database_mixups [--requests N]``

16 clients transfer money between ten accounts over 16 connections to the production server (two processes with eight
threads each), on SQLite and on PostgreSQL: first with ``DatabaseProvider``, then with the ORM as it is, which
gets few requests, because it soon stops responding. A quarter of the transactions is made to fail in the middle. Exits
with 1 if this application loses money, mixes anything up, or fails.
"""

import argparse
import http.client
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from masoniteorm.connections import ConnectionResolver

from package_tests.support.database import (
    ACCOUNTS,
    BALANCE,
    SAFE,
    STOCK,
    create_accounts,
    database_project,
    postgres_details,
    sqlite_details,
)
from package_tests.support.issuer import Issuer
from package_tests.support.postgres import PostgresServer
from package_tests.support.servers import Server, free_port

CLIENTS = 16
EXPECTED = {"": 200, "raise": 500, "conflict": 409}


def transfer(port: int, number: int, count: int, seen: Counter[str]) -> None:
    chance, connection = random.Random(number), http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers, results = {"Content-Type": "application/json"}, Counter[str]()
    for _ in range(count):
        giver, receiver = chance.sample(range(1, ACCOUNTS + 1), 2)
        fail = chance.choice(["", "", "", "", "", "", "raise", "conflict"])
        body = json.dumps({"from": giver, "to": receiver, "amount": 1, "fail": fail})
        try:
            for method, path, sent, status in (
                ("POST", "/transfers", body, EXPECTED[fail]),
                ("GET", f"/accounts/{giver}", None, 200),
            ):
                connection.request(method, path, sent, headers)
                response = connection.getresponse()
                found = json.loads(response.read())
                wrong = method == "GET" and found.get("owner") != f"owner-{giver}" and response.status == 200
                results["wrong" if wrong else "right" if response.status == status else "failed"] += 1
        except (OSError, http.client.HTTPException, ValueError):
            results["failed"] += 1
            connection.close()
    connection.close()
    seen.update(results)


def measure(name: str, details: dict[str, Any], providers: str, requests: int, folder: Path) -> int:
    """Return the number of mix-ups and errors, and the money that is missing or too much."""
    database = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    create_accounts(database)
    issuer, port, seen = Issuer(), free_port(), Counter[str]()
    project = database_project(folder / name.replace(" ", "-"), details, providers)
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "SHUTDOWN_DRAIN": "0"}
    command = [sys.executable, "-m", "zuplo_origin.server"]
    began = time.monotonic()
    with Server(command, port, folder / f"{name}.log", settings, project):
        count = requests // CLIENTS // 2
        threads = [threading.Thread(target=transfer, args=(port, n, count, seen)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    money = sum(row["balance"] for row in database.get_query_builder().table("accounts").get()) - ACCOUNTS * BALANCE
    seconds = time.monotonic() - began
    print(f"{name}: {sum(seen.values())} requests, {seen['wrong']} wrong, {seen['failed']} failed, ", end="")
    print(f"{money:+} of the money, {seconds:.0f} s", flush=True)
    issuer.close()
    return seen["wrong"] + seen["failed"] + abs(money)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    total = 0
    with tempfile.TemporaryDirectory() as name, PostgresServer() as postgres:
        folder = Path(name)
        databases = {"SQLite": sqlite_details(folder), "PostgreSQL": postgres_details(postgres.port)}
        for database, details in databases.items():
            total += measure(f"{database}, this application", details, SAFE, options.requests, folder)
        for database, details in databases.items():
            measure(f"{database}, the ORM as it is", details, STOCK, min(options.requests, 320), folder)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
