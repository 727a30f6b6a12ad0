"""The example `examples/orders`: its own tests, and the application under load, on SQLite and on PostgreSQL."""

import hashlib
import hmac
import http.client
import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack

import pytest
from masoniteorm.config import db_url
from masoniteorm.connections import ConnectionResolver

from package_tests.support.issuer import Issuer
from package_tests.support.postgres import PostgresServer
from package_tests.support.servers import ROOT, Server, clean_environment, free_port
from zuplo_origin.services.database import install

CLIENTS, ORDERS, ROWS = 16, 12, 100_000
SECRET = "a secret of the payment service"
COPY = """
INSERT INTO orders (owner, reference, customer, quantity, price_cents, due, status)
WITH RECURSIVE numbers(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000)
SELECT owner, 'row-' || n, customer, quantity, price_cents, due, status FROM orders, numbers WHERE reference = 'first'
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy the example, so that its tests leave nothing behind."""
    ignored = shutil.ignore_patterns("__pycache__", "*.sqlite3*", "storage")
    return shutil.copytree(ROOT / "examples" / "orders", tmp_path_factory.mktemp("example") / "orders", ignore=ignored)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request, tmp_path_factory):
    """Yield a function that returns the URL of a new database, by its name."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield lambda name: f"sqlite:///{tmp_path_factory.mktemp(name)}/orders.sqlite3"
            return
        server = stack.enter_context(PostgresServer())

        def create(name):
            server.query(f"CREATE DATABASE {name}")
            return server.url.replace("/postgres", f"/{name}")

        yield create


def run(project, *command, **variables):
    ended = subprocess.run(
        [sys.executable, *command], cwd=project, env=clean_environment(**variables), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_tests_of_the_example_pass(project, database):
    printed = run(project, "-m", "pytest", "-rs", TEST_DATABASE_URL=database("suite"))

    assert " passed" in printed and "skipped" not in printed


@pytest.fixture(scope="module")
def issuer():
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def url(database):
    return database("load")


@pytest.fixture(scope="module")
def server(project, url, issuer, tmp_path_factory):
    port = free_port()
    settings = {"DATABASE_URL": url, "JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PAYMENTS_SECRET": SECRET}
    settings |= {"WEB_CONCURRENCY": "2", "WEB_THREADS": "8"}
    run(project, "craft", "migrate", "--force", **settings)
    log = tmp_path_factory.mktemp("load") / "log"
    command = [sys.executable, "-m", "zuplo_origin.server"]
    with Server(command, port, log, {"PORT": str(port)} | settings, project) as started:
        yield started


class User:
    """A caller with a connection of its own."""

    def __init__(self, server, issuer, name):
        self.name, self.statuses = name, Counter()
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        token = issuer.token(sub=name, scope="read:orders write:orders", roles=["admin"])
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, method, path, body=None, expected=200, **headers):
        encoded = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request(method, path, encoded, {**self.headers, **headers})
        response = self.connection.getresponse()
        content = response.read()
        assert response.status == expected, (method, path, response.status, content[:300])
        return json.loads(content) if content and "json" in response.headers["Content-Type"] else content

    def work(self):
        """Create, read, change, pay and delete orders, and see the own ones only."""
        for number in range(ORDERS):
            new = {"reference": f"{self.name}-{number}", "customer": self.name, "quantity": number + 1}
            new |= {"price_cents": 100, "due": "2026-12-01"}
            order = self.send("POST", "/orders", new, 201)
            path = f"/orders/{order['id']}"
            self.send("POST", "/orders", new, 409)
            assert self.send("GET", path)["customer"] == self.name
            assert self.send("PATCH", path, {"quantity": 7})["quantity"] == 7
            event = json.dumps({"event": "paid", "order": order["id"]}).encode()
            signature = "sha256=" + hmac.new(SECRET.encode(), event, hashlib.sha256).hexdigest()
            self.send("POST", "/webhooks/payments", event, 204, **{"X-Signature": signature})
            assert self.send("GET", path)["status"] == "paid"
            if number % 2:
                self.send("DELETE", path, expected=204)
                self.send("GET", path, expected=404)
        listed = self.send("GET", "/orders?per_page=100")
        assert {order["customer"] for order in listed["data"]} == {self.name}
        assert listed["meta"]["total"] == ORDERS // 2


def test_sixteen_users_at_once_get_their_own_orders_and_no_failures(server, issuer):
    users, errors = [User(server, issuer, f"user{number}") for number in range(CLIENTS)], []

    def run(user):
        try:
            user.work()
        except BaseException as error:
            errors.append(error)
        finally:
            user.connection.close()

    threads = [threading.Thread(target=run, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert errors == []
    admin = User(server, issuer, "admin")
    assert admin.send("GET", "/admin/orders?per_page=1")["meta"]["total"] == CLIENTS * ORDERS // 2
    admin.connection.close()
    assert '"level":"error"' not in server.output()


def test_export_streams_a_hundred_thousand_rows(server, url, issuer):
    user = User(server, issuer, "exporter")
    order = {"reference": "first", "customer": "Ada Lovelace", "quantity": 1, "price_cents": 1999, "due": "2026-12-01"}
    user.send("POST", "/orders", order, 201)
    install()
    database = ConnectionResolver().set_connection_details({"default": "orders", "orders": db_url(url)})
    database.get_query_builder().statement(COPY)
    exported = user.send("GET", "/orders.csv")
    user.connection.close()

    assert exported.count(b"\n") == ROWS + 1
    assert exported.endswith(f",row-{ROWS},Ada Lovelace,1,1999,2026-12-01,open\r\n".encode())
