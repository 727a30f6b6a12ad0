"""`@idempotent`: retried requests get the first response, over threads, processes, and workers that are killed."""

import http.client
import json
import os
import signal
import sqlite3
import threading
import time
from collections import defaultdict
from contextlib import closing
from types import SimpleNamespace
from typing import ClassVar

import pytest
from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route
from masoniteorm.connections import ConnectionResolver
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel

from package_tests.support.applications import application as make_application
from package_tests.support.controllers import start, wait_until
from package_tests.support.database import database_project, details_of, sqlite_details
from package_tests.support.issuer import Issuer
from package_tests.support.mysql import MysqlServer
from package_tests.support.postgres import PostgresServer
from package_tests.support.wsgi_client import request
from zuplo_origin.http import HttpException
from zuplo_origin.openapi import responds
from zuplo_origin.openapi.description import Description
from zuplo_origin.services import idempotency, idempotent
from zuplo_origin.services.cache import Cache
from zuplo_origin.services.database import install
from zuplo_origin.services.start import complete

TABLES = (
    """CREATE TABLE idempotency_keys (
        id VARCHAR(64) PRIMARY KEY, fingerprint VARCHAR(64), claim VARCHAR(32), expires_at BIGINT, response TEXT
    )""",
    "CREATE TABLE orders (name VARCHAR(200))",
)
LIMIT = 30


class NewOrder(BaseModel):
    name: str = ""


class OrdersController(Controller):
    """Creates what its request names. `calls` are the names, also of actions that raised."""

    calls: ClassVar[list] = []
    entered, leave = threading.Event(), threading.Event()
    database = None

    @responds(201)
    @idempotent
    def store(self, response: Response, order: NewOrder):
        self.create(order.name)
        response.header("Location", f"/orders/{len(self.calls)}")
        response.cookie("session", "secret")
        return {"name": order.name, "number": len(self.calls)}

    @idempotent
    def wait(self):
        self.create("waits")
        self.entered.set()
        self.leave.wait(LIMIT)
        return {"number": len(self.calls)}

    @idempotent(lease=1)
    def slow(self):
        return self.wait.__wrapped__(self)

    @idempotent
    def broken(self):
        self.create("broken")
        raise RuntimeError("in the middle")

    @idempotent
    def taken(self):
        self.create("taken")
        raise HttpException(409, "taken")

    @idempotent
    def billed(self):
        return {"billed": len(self.calls) or self.create("billed")}, 402

    @idempotent(required=True)
    def strict(self, request: Request):
        return request.body()

    @idempotent
    def stream(self, response: Response):
        return response.stream(["a"])

    @idempotent
    def nothing(self):
        self.create("nothing")

    @idempotent(claims=("org.id",))
    def of_organisation(self):
        self.create("organisation")

    def create(self, name):
        self.calls.append(name)
        if self.database is not None:
            self.database.get_query_builder().table("orders").create({"name": name})


class User:
    """Sets the claims of the caller: those of a header, or a `sub`."""

    def before(self, request, response, *required):
        claims = request.header("X-Claims")
        request.set_user(json.loads(claims) if claims else {"sub": request.header("X-User") or "ann"})
        return request

    def after(self, request, response, *required):
        return request


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def mysql():
    with MysqlServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres", "mysql", "cache"])
def application(request, tmp_path):
    OrdersController.calls, OrdersController.database = [], None
    OrdersController.entered, OrdersController.leave = threading.Event(), threading.Event()
    names = ("store", "wait", "slow", "broken", "taken", "billed", "strict", "stream", "nothing")
    routes = [Route.post(f"/{name}", getattr(OrdersController, name)) for name in names]
    made = make_application(*routes, http_middleware=[User])
    made.make("middleware").add({"claims": [User]})
    made.make("router").add(
        Route.post("/organisation", OrdersController.of_organisation),
        Route.post("/tenant", OrdersController.nothing).middleware("claims:plan=gold,tenant"),
    )
    if request.param == "cache":
        made.base_path = str(tmp_path)
        stores = {"default": "local", "local": {"driver": "file", "location": "cache"}}
        made.bind("cache", Cache(made, stores))
    else:
        install()
        details = details_of(request.param, request, tmp_path)
        database = ConnectionResolver().set_connection_details({"default": "main", "main": details})
        for table, statement in zip(("idempotency_keys", "orders"), TABLES, strict=True):
            database.get_query_builder().statement(f"DROP TABLE IF EXISTS {table}")
            database.get_query_builder().statement(statement)
        made.bind("database", database)
        OrdersController.database = database
    return made


def post(application, path, key=None, body=b'{"name": "pen"}', user="ann", content_type="application/json"):
    headers = {"Content-Type": content_type, "X-User": user} | ({} if key is None else {"Idempotency-Key": key})
    return request(application, "POST", path, headers, body)


def created():
    if OrdersController.database is None:
        return len(OrdersController.calls)
    return OrdersController.database.get_query_builder().table("orders").count()


def test_second_request_with_the_key_gets_the_first_response(application):
    first, second = (post(application, "/store", "k1") for _ in range(2))

    assert (first.status, first.json, created()) == (201, {"name": "pen", "number": 1}, 1)
    assert (second.status, second.body, second.headers["location"]) == (201, first.body, "/orders/1")
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
    assert "set-cookie" in first.headers and "set-cookie" not in second.headers
    assert [name for name, _ in second.header_list].count("Content-Length") == 1


def test_keys_are_those_of_a_caller_and_a_route(application):
    for path, key, user in (
        ("/store", "a", "ann"),
        ("/store", "b", "ann"),
        ("/store", "a", "bob"),
        ("/nothing", "a", "ann"),
    ):
        assert post(application, path, key, user=user).status < 300

    assert created() == 4


@pytest.mark.parametrize(
    ("path", "first", "second", "runs"),
    [
        ("/tenant", {"sub": "ann", "tenant": "a"}, {"sub": "ann", "tenant": "b"}, 2),
        ("/tenant", {"sub": "ann", "plan": "gold"}, {"sub": "ann", "plan": ["gold", "old"]}, 1),
        ("/tenant", {"tenant": ["a", "b"]}, {"tenant": ["b", "a"]}, 1),
        ("/tenant", {"tenant": ["a", "b"]}, {"tenant": ["a"]}, 2),
        ("/tenant", {"tenant": "a"}, {"tenant": "b"}, 2),
        ("/tenant", {"tenant": "a", "jti": 1}, {"tenant": "a", "jti": 2}, 1),
        ("/organisation", {"org": {"id": 1}}, {"org": {"id": 2}}, 2),
        ("/organisation", {"org": {"id": 1}}, {"org": {"id": "1"}}, 2),
        ("/organisation", {"sub": "ann", "org": {"id": 1}}, {"sub": "bob", "org": {"id": 1}}, 2),
        ("/nothing", {"iss": "https://a.test", "sub": "ann"}, {"iss": "https://b.test", "sub": "ann"}, 2),
        ("/nothing", {"sub": "ann", "iat": 1}, {"sub": "ann", "iat": 2}, 1),
    ],
)
def test_callers_are_separated_by_the_claims_that_a_route_requires_and_an_action_names(
    application, path, first, second, runs
):
    for claims in (first, second):
        headers = {"Idempotency-Key": "k", "X-Claims": json.dumps(claims)}
        assert request(application, "POST", path, headers).status == 204

    assert created() == runs


@pytest.mark.parametrize(
    ("path", "needed"), [("/nothing", "sub"), ("/organisation", "sub or org.id"), ("/tenant", "sub or tenant")]
)
def test_token_that_names_no_caller_is_400(application, path, needed):
    headers = {"Idempotency-Key": "k", "X-Claims": json.dumps({"iss": "https://a.test", "sub": None})}
    rejected = request(application, "POST", path, headers)

    assert (rejected.status, created()) == (400, 0)
    assert rejected.json["details"] == f"Idempotency-Key needs a token with the claim {needed}"
    assert request(application, "POST", path, {"X-Claims": "{}"}).status == 204


def test_claims_must_be_names():
    with pytest.raises(TypeError, match="expected a tuple"):
        idempotent(claims="tenant")(OrdersController.nothing.__wrapped__)


def test_request_without_a_key_runs(application):
    assert [post(application, "/store").json["number"] for _ in range(2)] == [1, 2]


def test_request_without_a_key_is_400_if_it_is_required(application):
    missing = post(application, "/strict")

    assert (missing.status, missing.json["details"]) == (400, "Idempotency-Key is missing")
    assert post(application, "/strict", "k").body == b'{"name": "pen"}'


@pytest.mark.parametrize("change", [{"body": b'{"name": "ink"}'}, {"content_type": "application/merge-patch+json"}])
def test_key_with_another_body_or_type_is_422(application, change):
    post(application, "/store", "k")
    response = post(application, "/store", "k", **change)

    assert (response.status, created()) == (422, 1)
    assert response.json["details"] == "Idempotency-Key was used for another request"


def test_key_with_another_query_is_422(application):
    post(application, "/store", "k")

    assert post(application, "/store?dry=1", "k").status == 422


@pytest.mark.parametrize("key", ["", " ", '""', '"', '"a', "a b", "a\tb", "é", "x" * 256, '"' + "x" * 256 + '"'])
def test_invalid_key_is_400(application, key):
    response = post(application, "/store", key)

    assert (response.status, created()) == (400, 0)


def test_quoted_key_is_the_same_as_without_quotes(application):
    assert post(application, "/store", '"k"').json == post(application, "/store", "k").json
    assert created() == 1


def test_request_while_the_first_runs_is_409(application):
    results = []
    first = threading.Thread(target=lambda: results.append(post(application, "/wait", "k")))
    first.start()
    assert OrdersController.entered.wait(LIMIT)
    meanwhile = post(application, "/wait", "k")
    OrdersController.leave.set()
    first.join(LIMIT)

    assert meanwhile.status == 409 and 1 <= int(meanwhile.headers["retry-after"]) <= 5
    assert results[0].status == 200 and post(application, "/wait", "k").body == results[0].body
    assert created() == 1


def test_key_of_an_action_that_raised_is_free_and_its_rows_are_rolled_back(application):
    assert [post(application, "/broken", "k").status for _ in range(2)] == [500, 500]
    assert [post(application, "/taken", "k").status for _ in range(2)] == [409, 409]
    assert OrdersController.calls == ["broken", "broken", "taken", "taken"]
    if OrdersController.database is not None:
        assert created() == 0


def test_error_that_an_action_returns_is_stored(application):
    assert [post(application, "/billed", "k").status for _ in range(2)] == [402, 402]
    assert OrdersController.calls == ["billed"]


def test_response_without_content_is_stored(application):
    assert [post(application, "/nothing", "k").status for _ in range(2)] == [204, 204]
    assert created() == 1


def test_stream_is_an_error(application, caplog):
    assert post(application, "/stream", "k").status == 500
    assert "its response cannot be a stream" in caplog.text


def test_action_that_outlives_its_lease_is_rolled_back_if_another_runs(application):
    results = []
    threads = [threading.Thread(target=lambda: results.append(post(application, "/slow", "k"))) for _ in range(2)]
    threads[0].start()
    assert OrdersController.entered.wait(LIMIT)
    OrdersController.entered.clear()
    time.sleep(1.1)  # the lease
    threads[1].start()
    if is_sqlite():  # it has one writer: the second request waits for the first
        statuses = [200, 200]
    else:
        assert OrdersController.entered.wait(LIMIT)
        statuses = [200, 409]
    OrdersController.leave.set()
    for thread in threads:
        thread.join(LIMIT)

    assert sorted(each.status for each in results) == statuses
    assert post(application, "/slow", "k").status == 200
    if OrdersController.database is not None:
        assert created() == 1


def is_sqlite():
    if OrdersController.database is None:
        return False
    details = OrdersController.database.get_connection_details()
    return details[details["default"]]["driver"] == "sqlite"


def test_key_is_free_after_its_time(application, monkeypatch):
    if OrdersController.database is None:
        return  # entries of the cache expire by themselves
    clock = SimpleNamespace(time=lambda: time.time() - 2 * idempotency.SECONDS)
    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "time", clock)
        post(application, "/store", "k")
    monkeypatch.setattr(idempotency.random, "random", lambda: 1.0)  # without removing expired rows
    assert post(application, "/store", "k").json["number"] == 2


def test_expired_rows_are_removed(application, monkeypatch):
    if OrdersController.database is None:
        return  # entries of the cache expire by themselves
    rows = OrdersController.database.get_query_builder().table("idempotency_keys")
    rows.create({"id": "old", "fingerprint": "", "claim": "", "expires_at": 1})
    monkeypatch.setattr(idempotency.random, "random", lambda: 0.0)
    post(application, "/store", "k")

    left = OrdersController.database.get_query_builder().table("idempotency_keys").get()
    assert [row["id"] == "old" for row in left] == [False]


def test_response_larger_than_what_is_kept_is_an_error(application, caplog, monkeypatch):
    monkeypatch.setattr(idempotency, "LARGEST", 10)

    assert post(application, "/store", "k").status == 500
    assert "bytes; 10 are kept" in caplog.text and (OrdersController.database is None or created() == 0)


def test_stored_row_names_neither_the_caller_nor_the_key(application):
    if OrdersController.database is None:
        return
    post(application, "/store", "secret-key", user="ann-secret")
    [row] = OrdersController.database.get_query_builder().table("idempotency_keys").get()

    assert "secret" not in str(dict(row))


def test_header_is_described(application):
    document = Description(application.make("router"), "x", "1", "Authorization", "Bearer").document()
    validate(document, cls=OpenAPIV31SpecValidator)
    optional, required = (
        [each for each in document["paths"][path]["post"]["parameters"] if each["in"] == "header"]
        for path in ("/store", "/strict")
    )

    assert [(each["name"], each["required"]) for each in (*optional, *required)] == [
        ("Idempotency-Key", False),
        ("Idempotency-Key", True),
    ]
    assert {"400", "409", "422"} <= set(document["paths"]["/nothing"]["post"]["responses"])


def test_application_without_a_database_and_a_cache_does_not_start(capsys):
    made = make_application(Route.post("/store", OrdersController.store))
    with pytest.raises(SystemExit):
        complete(made, [])

    assert "/store: @idempotent needs DatabaseProvider or CacheProvider" in capsys.readouterr().err


CONTROLLER = """
import os
import time

from masonite.controllers import Controller
from masonite.request import Request

from config.database import DB
from zuplo_origin.services import idempotent


class AccountsController(Controller):
    @idempotent(lease=2)
    def store(self, request: Request):
        name = request.json()["name"]
        DB.get_query_builder().table("orders").create({"name": name})
        time.sleep(0.002)  # killed between two writes
        number = DB.get_query_builder().table("orders").where("name", name).count()
        return {"name": name, "number": number, "pid": os.getpid(), "at": time.time()}, 201
"""
CLIENTS, CREATES = 32, 100


@pytest.fixture
def project(tmp_path):
    made = database_project(tmp_path / "project", sqlite_details(tmp_path))
    (made / "app/controllers/AccountsController.py").write_text(CONTROLLER)
    routes = (made / "routes/web.py").read_text()
    (made / "routes/web.py").write_text(
        routes[: routes.index("ROUTES += [", routes.index("AccountsController"))]
        + 'ROUTES += [Route.post("/orders", AccountsController.store).middleware("public")]\n'
    )
    with closing(sqlite3.connect(tmp_path / "test.sqlite3")) as database:
        for statement in TABLES:
            database.execute(statement)
    return made


def test_creates_that_32_clients_repeat_happen_once_although_workers_are_killed(project, tmp_path):
    issuer = Issuer()
    seen, unexpected = defaultdict(set), []

    def client(port, first):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for number in range(CREATES):
            name = f"order-{(number + first) % CREATES}"
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    connection.request(
                        "POST",
                        "/orders",
                        json.dumps({"name": name}),
                        {"Content-Type": "application/json", "Idempotency-Key": name},
                    )
                    response = connection.getresponse()
                    body = response.read()
                except (OSError, http.client.HTTPException):
                    connection.close()
                    time.sleep(0.05)
                    continue
                if response.status == 201:
                    seen[name].add(body)
                    break
                if response.status != 409:
                    unexpected.append((response.status, body))
                time.sleep(0.05)
            else:
                unexpected.append(("no response", name))
        connection.close()

    with start(project, tmp_path / "log", JWT_ISSUER=issuer.name, WEB_CONCURRENCY="2") as server:
        wait_until(lambda: "server_ready" in server.output())
        # all begin with the same creates
        clients = [threading.Thread(target=client, args=(server.port, 0)) for number in range(CLIENTS)]
        for thread in clients:
            thread.start()
        for part in (CREATES // 4, CREATES // 2):
            wait_until(lambda part=part: len(seen) >= part)
            os.kill(int(min(server.workers())), signal.SIGKILL)
        for thread in clients:
            thread.join(120)
    issuer.close()

    with closing(sqlite3.connect(tmp_path / "test.sqlite3")) as database:
        created = database.execute("SELECT name, COUNT(*) FROM orders GROUP BY name").fetchall()
    assert unexpected == []
    assert dict(created) == {f"order-{number}": 1 for number in range(CREATES)}
    assert {len(bodies) for bodies in seen.values()} == {1} and len(seen) == CREATES
