"""The example `examples/orders`: its own tests, and the application under load, on SQLite and on PostgreSQL."""

import hashlib
import hmac
import http.client
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from masoniteorm.config import db_url
from masoniteorm.connections import ConnectionResolver
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from package_tests.support.issuer import Issuer
from package_tests.support.postgres import PostgresServer
from package_tests.support.servers import ROOT, Server, clean_environment, free_port
from zuplo_origin.dev.main import main as command_line
from zuplo_origin.services.database import install

EXAMPLE = ROOT / "examples" / "orders"
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
    return shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("example") / "orders", ignore=ignored)


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


def files_in(folder):
    """Return the text of each file, without what runs and tests leave behind."""
    left = re.compile(r"(^|/)(__pycache__|storage|\.\w+_cache)/|\.sqlite3|^\.env$|\.whl$")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return {name: (folder / name).read_bytes() for name in names if not left.search(name)}


def test_example_is_what_new_writes_but_for_the_files_that_it_changes(tmp_path, capfd):
    copied = runpy.run_path(str(ROOT / ".ci/example.py"))
    assert command_line(["new", str(tmp_path / "orders"), "--name", copied["NAME"]]) == 0
    written, example = files_in(tmp_path / "orders"), files_in(EXAMPLE)
    differing = {name for name in written if example.get(name) != written[name]}

    assert differing == set(copied["CHANGED"]), "run python .ci/example.py, or add the file to its CHANGED"
    assert len(differing) < len(written) / 4
    assert os.access(EXAMPLE / "craft", os.X_OK)


def test_doctor_finds_nothing_in_the_example(capsys):
    assert (command_line(["doctor", str(EXAMPLE)]), capsys.readouterr().err) == (0, "")


def test_commands_of_the_readme_work(project, tmp_path):
    readme = (project / "README.md").read_text()
    blocks = re.findall(r"(<!-- not run: .*? -->\n)?^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    script = "".join(text for reason, text in blocks if not reason).replace("python -m pytest\n", "")  # a test's own
    copy, port = shutil.copytree(project, tmp_path / "orders"), free_port()
    run(copy, "craft", "migrate", APP_ENV="local")
    with Server(
        [sys.executable, "craft", "serve", "--port", str(port), "--dont-reload"], port, tmp_path / "log", {}, copy
    ):
        ended = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", script.replace("127.0.0.1:8000", f"127.0.0.1:{port}")],
            cwd=copy,
            env=clean_environment(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"),
            capture_output=True,
            text=True,
        )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.findall(r"HTTP/1\.1 (\d+)", ended.stdout) == ["201", "201", "200"]
    assert '"quantity":4' in ended.stdout and '{"imported":1}' in ended.stdout and "A-2,Ada,1,500" in ended.stdout
    assert (tmp_path / "orders-gateway/config/policies.json").exists()


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
        content, self.received = response.read(), response.headers
        assert response.status == expected, (method, path, response.status, content[:300])
        return json.loads(content) if content and "json" in response.headers["Content-Type"] else content

    def work(self):
        """Create, read, change, pay and delete orders, and see the own ones only."""
        for number in range(ORDERS):
            new = {"reference": f"{self.name}-{number}", "customer": self.name, "quantity": number + 1}
            new |= {"price_cents": 100, "due": "2026-12-01"}
            key = {"Idempotency-Key": f"{number}"}  # of each caller
            order = self.send("POST", "/orders", new, 201, **key)
            assert self.send("POST", "/orders", new, 201, **key) == order
            self.send("POST", "/orders", new, 409)
            path = f"/orders/{order['id']}"
            assert self.send("GET", path)["customer"] == self.name
            version = {"If-Match": self.received["ETag"]}
            assert self.send("PATCH", path, {"quantity": 7}, **version)["quantity"] == 7
            event = json.dumps({"event": "paid", "order": order["id"]}).encode()
            signature = "sha256=" + hmac.new(SECRET.encode(), event, hashlib.sha256).hexdigest()
            self.send("POST", "/webhooks/payments", event, 204, **{"X-Signature": signature})
            assert self.send("GET", path)["status"] == "paid"
            self.send("PATCH", path, {"status": "cancelled"}, 412, **version)
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


def order_of(reference, **fields):
    return {"reference": reference, "customer": "Ada", "quantity": 1, "price_cents": 1, "due": "2026-12-01"} | fields


@pytest.fixture
def user(server, issuer, request):
    """Return a caller without orders."""
    made = User(server, issuer, request.node.name)
    yield made
    made.connection.close()


def test_retries_at_once_create_one_order_and_get_the_same_response(server, issuer, user):
    users, got = [User(server, issuer, user.name) for _ in range(8)], []

    def create(each):
        while True:  # 409 while the first one runs
            with suppress(AssertionError):
                created = each.send("POST", "/orders", order_of("once"), 201, **{"Idempotency-Key": "k"})
                got.append((created, each.received["ETag"]))
                return
            assert each.received["Retry-After"]

    with ThreadPoolExecutor(len(users)) as pool:
        for _ in pool.map(create, users):
            pass
    for each in users:
        each.connection.close()
    user.send("POST", "/orders", order_of("other"), 422, **{"Idempotency-Key": "k"})

    assert len(got) == 8 and all(each == got[0] for each in got)
    assert user.send("GET", "/orders")["data"] == [got[0][0]]


def test_one_of_several_changes_to_a_version_is_made(server, issuer, user):
    path = f"/orders/{user.send('POST', '/orders', order_of('A-1'), 201)['id']}"
    user.send("PATCH", path, {"quantity": 2}, 428)
    users = [User(server, issuer, user.name) for _ in range(8)]

    def change(each, quantity, version):
        with suppress(AssertionError):
            each.send("PATCH", path, {"quantity": quantity}, **version)
            return quantity
        each.send("PATCH", path, {"quantity": quantity}, 412, **version)
        return None

    with ThreadPoolExecutor(len(users)) as pool:
        for number in range(20):
            user.send("GET", path)
            version = {"If-Match": user.received["ETag"]}
            quantities = range(10 + 8 * number, 18 + 8 * number)
            (changed,) = filter(None, pool.map(change, users, quantities, [version] * 8))
            assert user.send("GET", path)["quantity"] == changed
    for each in users:
        each.connection.close()


def test_links_lead_through_the_pages_of_the_caller(user, server, issuer):
    for number in range(5):
        user.send("POST", "/orders", order_of(f"A-{number}", price_cents=number), 201)
    other = User(server, issuer, "another caller")
    other.send("POST", "/orders", order_of("B-1"), 201)
    other.connection.close()
    link, seen = "?per_page=2&sort=-price_cents&due_before=2027-01-01", []
    while link:
        page = user.send("GET", f"/orders{link}")
        seen += [order["reference"] for order in page["data"]]
        link = page["links"]["next"]

    assert seen == ["A-4", "A-3", "A-2", "A-1", "A-0"]
    assert user.send("GET", "/orders?due_before=2026-12-01")["meta"]["total"] == 0


@pytest.mark.parametrize(
    "query", ["owner=ada", "customer=Ada", "sort=owner", "sort=due,id", "per_page=101", "status=x"]
)
@pytest.mark.parametrize("path", ["/orders", "/admin/orders"])
def test_filter_or_order_that_is_not_declared_is_422(user, path, query):
    user.send("GET", f"{path}?{query}", expected=422)


def test_file_of_some_megabytes_is_imported_in_constant_memory(server, user):
    """Python has a dict of some 500 bytes for each of 50,000 orders: they take five times as much as the file."""
    header = b"reference,customer,quantity,price_cents,due\n"
    lines = [b"A-%d,%s,1,1999,2026-12-01\n" % (number, b"Ada " * 15 + b"L") for number in range(50_000)]
    csv = {"Content-Type": "text/csv"}
    faulty = b"B-1,Ada,0,1,2026-12-01\n"
    for _ in range(4):  # both workers reach their usual size
        user.send("POST", "/orders.csv", b"".join([header, *lines[:5000], faulty]), 422, **csv)
    user.send("POST", "/orders.csv", header + b"warm-up,Ada,1,1,2026-12-01\n", 201, **csv)
    workers = [Path("/proc") / worker for worker in server.workers()]
    for worker in workers:
        (worker / "clear_refs").write_text("5")  # begins a new VmHWM, the peak of the memory
    before = [memory(worker, "VmRSS") for worker in workers]

    faults = user.send("POST", "/orders.csv", b"".join([header, *lines, faulty]), 422, **csv)
    assert [each["field"] for each in faults["details"]] == ["line 50002: quantity"]
    assert user.send("GET", "/orders")["meta"]["total"] == 1
    assert user.send("POST", "/orders.csv", b"".join([header, *lines]), 201, **csv) == {"imported": 50_000}
    assert user.send("GET", "/orders?sort=-id&per_page=1")["meta"]["total"] == 50_001
    grown = [memory(worker, "VmHWM") - start for worker, start in zip(workers, before, strict=True)]
    assert max(grown) < 20 * 1024, grown


def memory(worker, name):
    """Return a figure of a process, in KiB."""
    return int(re.search(rf"^{name}:\s+(\d+)", (worker / "status").read_text(), re.MULTILINE)[1])


def test_description_has_keys_versions_pages_and_their_errors(server):
    document = json.loads(server.get("/openapi.json")[2])
    validate(document, cls=OpenAPIV31SpecValidator)
    paths, schemas = document["paths"], document["components"]["schemas"]
    create, change, listing = paths["/orders"]["post"], paths["/orders/{id}"]["patch"], paths["/orders"]["get"]
    load = paths["/orders.csv"]["post"]

    def headers(operation):
        return {each["name"]: each["required"] for each in operation["parameters"] if each["in"] == "header"}

    assert headers(create) == {"Idempotency-Key": False} and {"201", "400", "409", "422"} <= set(create["responses"])
    assert headers(change) == {"If-Match": True} and {"200", "412", "422", "428"} <= set(change["responses"])
    assert [each["name"] for each in listing["parameters"]] == ["page", "per_page", "status", "due_before", "sort"]
    page = schemas[listing["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]
    assert page["properties"]["data"]["items"] == {"$ref": "#/components/schemas/OrderView"}
    assert set(page["properties"]) == {"data", "meta", "links"}
    assert {"201", "408", "409", "413", "415", "422"} <= set(load["responses"]) and "text/csv" in str(
        load["requestBody"]
    )


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
