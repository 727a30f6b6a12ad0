"""Connections and transactions of the ORM: they belong to a request, a job or a thread."""

import gc
import logging
import os
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest
from masonite.controllers import Controller
from masonite.response import Response
from masonite.routes import Route
from masonite.tests import DatabaseTransactions
from masoniteorm.connections import ConnectionResolver
from masoniteorm.exceptions import QueryException
from masoniteorm.models import Model
from masoniteorm.providers import ORMProvider
from masoniteorm.relationships import belongs_to, belongs_to_many, has_many
from masoniteorm.schema import Schema

from package_tests.support.applications import application as make_application
from package_tests.support.applications import configuration
from package_tests.support.database import (
    ACCOUNTS,
    BALANCE,
    SCHEMA,
    create_accounts,
    details_of,
    postgres_details,
    sqlite_details,
)
from package_tests.support.mysql import MysqlServer
from package_tests.support.postgres import PostgresServer
from package_tests.support.wsgi_client import environ, request
from zuplo_origin.services import connections
from zuplo_origin.services.database import DatabaseProvider, DatabaseUnavailable, UniqueViolation, install

LIMIT = 30


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def mysql():
    with MysqlServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def details(request, tmp_path):
    return details_of(request.param, request, tmp_path)


@pytest.fixture
def database(details):
    """Yield the `DB` of a database with accounts. No connection may be left in a transaction."""
    install()
    resolver = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    create_accounts(resolver)
    yield resolver
    pool = connections.pools.of(details, None)
    assert not [raw for raw, _ in pool._idle if pool.driver.is_in_transaction(raw)]
    for raw, _ in pool._idle:
        raw.close()


def table(database):
    return database.get_query_builder().table("accounts")


def balance(database, account=1):
    return table(database).where("id", account).first()["balance"]


def spend(database, account=1, amount=100):
    table(database).where("id", account).update({"balance": balance(database, account) - amount})


def pool_of(database):
    details = database.get_connection_details()
    return connections.pools.of(details[details["default"]], None)


def in_thread(function):
    """Run a function in a thread of its own, and return its result, or raise its exception."""
    results, errors = [], []

    def run():
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results[0]


def wait_until(condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# -- transactions -----------------------------------------------------------------------------------------------------


def test_transaction_is_committed_at_the_end_of_its_block(database):
    with database.transaction():
        spend(database)

    assert in_thread(lambda: balance(database)) == BALANCE - 100


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_transaction_is_rolled_back_if_its_block_raises(database, error):
    with pytest.raises(error), database.transaction():
        spend(database)
        raise error

    assert balance(database) == BALANCE


def test_transaction_is_not_visible_to_other_threads_before_its_commit(database):
    database.begin_transaction()
    spend(database)

    assert balance(database) == BALANCE - 100
    assert in_thread(lambda: balance(database)) == BALANCE
    database.rollback()
    assert balance(database) == BALANCE


def test_nested_transaction_is_rolled_back_alone(database):
    with database.transaction():
        spend(database, 1)
        with pytest.raises(ValueError), database.transaction():
            spend(database, 2)
            raise ValueError
        with database.transaction():
            spend(database, 3)

    assert [balance(database, account) for account in (1, 2, 3)] == [BALANCE - 100, BALANCE, BALANCE - 100]


def test_outer_transaction_rolls_back_a_nested_one_that_was_committed(database):
    with pytest.raises(ValueError), database.transaction():
        with database.transaction():
            spend(database)
        raise ValueError

    assert balance(database) == BALANCE


def test_transaction_of_a_query_builder_is_the_one_of_the_thread(database):
    builder = table(database)
    builder.begin_transaction()
    spend(database)
    builder.rollback()

    assert balance(database) == BALANCE


def test_commit_and_rollback_without_a_transaction_are_errors(database):
    for end in (database.commit, database.rollback):
        with pytest.raises(QueryException, match="no transaction has begun"):
            end()


def test_eight_threads_transfer_at_once_and_no_money_is_lost(database):
    barrier, errors = threading.Barrier(8), []

    def transfer(number):
        barrier.wait()
        for _ in range(10):
            try:
                with database.transaction():
                    for account in (1, 2):
                        table(database).where("id", account).lock_for_update().first()
                    spend(database, 1, 1)
                    spend(database, 2, -1)
                    if number == 0:
                        raise ValueError
            except ValueError:
                continue
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=transfer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)

    assert errors == []
    assert (balance(database, 1), balance(database, 2)) == (BALANCE - 70, BALANCE + 70)


# -- requests ---------------------------------------------------------------------------------------------------------


class DatabaseController(Controller):
    """Uses `database`, which a test sets."""

    database = None

    def spend(self):
        spend(self.database)
        return {"balance": balance(self.database)}

    def leave(self):
        self.database.begin_transaction()
        spend(self.database)
        return {"ok": True}

    def duplicate(self):
        spend(self.database)
        try:
            table(self.database).create({"id": 99, "owner": "owner-1", "balance": 0})
        except UniqueViolation:
            return {"balance": balance(self.database)}, 409

    def rows(self, response: Response):
        def rows():
            for part in table(self.database).order_by("id").chunk(3):
                yield "".join(f"{row['owner']}\n" for row in part)
            yield f"{id(connections.lease_of(pool_of(self.database)).raw)}\n"

        self.connection = id(connections.lease_of(pool_of(self.database)).raw)
        return response.stream(rows(), "text/csv")

    def raw_begin(self):
        self.database.statement("BEGIN")
        spend(self.database)
        return {"ok": True}

    def fails(self):
        raise DatabaseUnavailable("gone: " + "hunter2")


@pytest.fixture
def application(database):
    DatabaseController.database = database
    names = ("spend", "leave", "duplicate", "rows", "raw_begin", "fails")
    return make_application(*(Route.get(f"/{name}", getattr(DatabaseController, name)) for name in names))


@pytest.mark.parametrize("path", ["/leave", "/raw_begin"])
def test_transaction_that_a_request_leaves_open_is_rolled_back(application, database, path, caplog):
    with caplog.at_level(logging.WARNING):
        assert request(application, "GET", path).status == 200

    assert balance(database) == BALANCE and request(application, "GET", "/spend").json == {"balance": BALANCE - 100}
    assert ("transaction_left_open" in caplog.text) == (path == "/leave")


def test_request_keeps_its_connection_and_the_next_one_uses_it_again(application, database):
    for _ in range(5):
        request(application, "GET", "/spend")

    assert len(pool_of(database)._idle) == 1


def test_stream_in_another_thread_keeps_the_connection_of_its_request(application, database):
    started = []
    stream = application(environ("GET", "/rows"), lambda *arguments: started.append(arguments))
    assert request(application, "GET", "/spend").status == 200  # of another request, meanwhile
    lines = in_thread(lambda: b"".join(stream).decode().splitlines())
    stream.close()

    assert lines[:-1] == [f"owner-{number}" for number in range(1, ACCOUNTS + 1)]
    assert len(pool_of(database)._idle) == 2
    assert int(lines[-1]) in [id(raw) for raw, _ in pool_of(database)._idle]


def test_stream_that_is_closed_early_returns_its_connection(application, database):
    stream = application(environ("GET", "/rows"), lambda *arguments: None)
    next(stream)
    in_thread(stream.close)

    pool = pool_of(database)
    assert pool._free._value == pool.size
    assert request(application, "GET", "/spend").status == 200


def test_thread_outside_a_request_returns_its_connection_after_each_query(database):
    in_thread(lambda: balance(database))

    pool = pool_of(database)
    assert pool._free._value == pool.size


def test_transaction_of_a_thread_that_ends_is_rolled_back(database, caplog):
    def leave():
        database.begin_transaction()
        spend(database)

    with caplog.at_level(logging.WARNING):
        in_thread(lambda: leave() or True)
        gc.collect()
        wait_until(lambda: "transaction_left_open" in caplog.text)

    assert balance(database) == BALANCE
    pool = pool_of(database)
    assert pool._free._value == pool.size


def test_chunk_passes_values_apart_from_the_statement(database):
    table(database).where("id", 1).update({"owner": "O'Hara' OR '1'='1"})

    parts = list(table(database).where("owner", "O'Hara' OR '1'='1").chunk(2))

    assert [[row["id"] for row in part] for part in parts] == [[1]]


def test_chunk_outside_a_request_lets_other_queries_run(database):
    found = []
    for part in table(database).order_by("id").chunk(4):
        found += [balance(database, row["id"]) for row in part]

    assert found == [BALANCE] * ACCOUNTS


# -- limits and losses ------------------------------------------------------------------------------------------------


def test_pool_has_the_size_of_the_configuration(details, database, monkeypatch):
    monkeypatch.setattr(connections, "WAIT_SECONDS", 0.1)
    limited = ConnectionResolver().set_connection_details(
        {"default": "main", "main": details | {"connection_pooling_max_size": 1}}
    )
    limited.begin_transaction()
    with pytest.raises(DatabaseUnavailable, match="none of 1 connections"):
        in_thread(lambda: balance(limited))
    limited.rollback()

    assert in_thread(lambda: balance(limited)) == BALANCE


@pytest.mark.parametrize("status", [None, 503])
def test_unavailable_database_is_500_or_503(application, status, monkeypatch):
    monkeypatch.setattr(DatabaseUnavailable, "status", status)

    response = request(application, "GET", "/fails")

    assert response.status == (status or 500) and b"hunter2" not in response.body
    assert response.headers.get("retry-after") == ("5" if status else None)


@pytest.fixture
def on_postgres(postgres, tmp_path):
    install()
    details = postgres_details(postgres.port)
    resolver = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    create_accounts(resolver)
    return resolver


def backends(postgres):
    statement = "SELECT pid, state FROM pg_stat_activity WHERE backend_type = 'client backend'"
    return dict(postgres.query(f"{statement} AND pid <> pg_backend_pid()"))


def test_lost_connection_fails_the_rest_of_its_transaction(on_postgres, postgres):
    on_postgres.begin_transaction()
    spend(on_postgres)
    (lost,) = [each for each, state in backends(postgres).items() if state == "idle in transaction"]
    postgres.query(f"SELECT pg_terminate_backend({lost})")

    with pytest.raises(DatabaseUnavailable):
        spend(on_postgres)
    with pytest.raises(DatabaseUnavailable, match="lost during this transaction"):
        spend(on_postgres)
    with pytest.raises(QueryException):
        on_postgres.commit()
    assert balance(on_postgres) == BALANCE
    assert pool_of(on_postgres)._free._value == pool_of(on_postgres).size


def test_idle_connections_that_the_server_has_closed_are_replaced(on_postgres, postgres):
    barrier = threading.Barrier(4)

    def hold():
        on_postgres.begin_transaction()
        barrier.wait(LIMIT)
        on_postgres.commit()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert len(pool_of(on_postgres)._idle) >= 4
    postgres.stop()
    with pytest.raises(DatabaseUnavailable):
        balance(on_postgres)
    postgres.start()

    assert [balance(on_postgres) for _ in range(8)] == [BALANCE] * 8


def test_commit_after_a_failed_statement_is_an_error_on_postgres(on_postgres):
    on_postgres.begin_transaction()
    spend(on_postgres)
    with pytest.raises(QueryException):
        on_postgres.statement("SELECT nothing_like_this")

    with pytest.raises(QueryException, match="was rolled back"):
        on_postgres.commit()
    assert balance(on_postgres) == BALANCE


def test_statement_timeout_ends_a_statement_and_keeps_the_connection(postgres):
    details = postgres_details(postgres.port, options={"statement_timeout": 0.2})
    database = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    with pytest.raises(QueryException, match="statement timeout"):
        database.statement("SELECT pg_sleep(20)")

    assert len(pool_of(database)._idle) == 1


def test_server_that_hangs_does_not_hold_a_thread(postgres, on_postgres, monkeypatch):
    monkeypatch.setattr(connections, "GRACE_SECONDS", 0.5)
    details = postgres_details(postgres.port, options={"statement_timeout": 0.5})
    database = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    assert balance(database) == BALANCE
    postgres.hang()
    try:
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            balance(database)
        assert time.monotonic() - began < 10
        probe = connections.Probe(lambda: pool_of(database), 0.5)
        began = time.monotonic()
        assert [probe.is_ready() for _ in range(20)] == [False] * 20
        assert time.monotonic() - began < 5
    finally:
        postgres.resume()
    assert balance(database) == BALANCE
    wait_until(probe.is_ready)


def test_forked_process_opens_connections_of_its_own(database):
    balance(database)
    of_the_parent = [raw for raw, _ in pool_of(database)._idle]
    child = os.fork()
    if child == 0:
        try:
            is_right = balance(database) == BALANCE
            status = 0 if is_right and pool_of(database)._idle[0][0] not in of_the_parent else 1
        except BaseException:
            status = 2
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert balance(database) == BALANCE


def test_file_that_is_replaced_is_opened_again(tmp_path):
    install()
    details = sqlite_details(tmp_path)
    database = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    create_accounts(database)
    spend(database)
    other = sqlite3.connect(tmp_path / "other")
    other.execute(SCHEMA)
    other.execute("INSERT INTO accounts VALUES (1, 'other', 7)")
    other.commit()
    other.close()
    for file in tmp_path.glob("test.sqlite3*"):
        file.unlink()
    (tmp_path / "other").rename(tmp_path / "test.sqlite3")

    assert balance(database) == 7


# -- tests of applications --------------------------------------------------------------------------------------------


def test_requests_share_the_transaction_of_a_test(application, database):
    class Case(DatabaseTransactions):
        connection = "main"

    case = Case()
    case.application = application
    application.bind("resolver", database)
    case.startTestRun()
    spend(database)
    assert request(application, "GET", "/spend").json == {"balance": BALANCE - 200}
    assert request(application, "GET", "/leave").status == 200
    assert balance(database) == BALANCE - 200
    # a statement that fails does not end the test's transaction
    response = request(application, "GET", "/duplicate")
    assert (response.status, response.json) == (409, {"balance": BALANCE - 300})
    assert b"owner-10" in request(application, "GET", "/rows").body
    case.stopTestRun()

    assert balance(database) == BALANCE


def test_provider_names_the_configuration_that_is_missing(capsys):
    made = make_application()
    made.bind("config", configuration())

    with pytest.raises(SystemExit):
        DatabaseProvider(made).register()
    assert "config/database.py" in capsys.readouterr().err


def test_server_with_a_database_does_not_start_without_the_provider(capsys):
    made = make_application()
    config = configuration()
    config.set("database.db", ConnectionResolver())
    made.bind("config", config)

    with pytest.raises(SystemExit):
        made.add_providers(ORMProvider)
    assert "add DatabaseProvider of zuplo_origin.services" in capsys.readouterr().err
    made.add_providers(ORMProvider, DatabaseProvider)
    assert made.make("resolver") is config.get("database.db")


def test_server_does_not_start_with_ready_database_and_no_provider(capsys):
    made = make_application()
    made.bind("settings", SimpleNamespace(ready_database=True))

    with pytest.raises(SystemExit):
        made.add_providers()
    assert "READY_DATABASE: invalid value 'True'" in capsys.readouterr().err


def test_memory_database_is_one_for_all_threads():
    install()
    details = {"driver": "sqlite", "database": ":memory:", "prefix": ""}
    database = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    create_accounts(database)

    assert in_thread(lambda: balance(database)) == BALANCE
    assert not Path(":memory:").exists()


# -- relationships ----------------------------------------------------------------------------------------------------


def test_date_of_one_model_can_be_written_to_another(database, details):
    """`created_at` of a model is a `pendulum.DateTime`; one of another zone is written in UTC."""
    database.get_query_builder().statement("drop table if exists meetings")
    database.get_query_builder().statement("create table meetings (id integer, held_at timestamp)")
    moment = pendulum.datetime(2026, 3, 1, 12, 30, tz="UTC")

    def meetings():
        return database.get_query_builder().table("meetings")

    meetings().create({"id": 1, "held_at": moment})

    assert meetings().where("held_at", "<=", moment).count() == 1
    assert meetings().where("held_at", ">", moment.subtract(seconds=1)).count() == 1
    assert str(meetings().first()["held_at"]) == "2026-03-01 12:30:00"
    if details["driver"] == "sqlite":
        assert meetings().where("held_at", moment.in_timezone("Asia/Tokyo")).count() == 1


@pytest.mark.parametrize("kind", ["increments", "big_increments"])
def test_row_gets_a_number_from_its_table(kind, database, monkeypatch):
    monkeypatch.setitem(sys.modules, "configured_database", SimpleNamespace(DB=database))
    monkeypatch.setenv("DB_CONFIG_PATH", "configured_database")
    schema = Schema(config_path="configured_database", connection="main")
    schema.drop_table_if_exists("numbered")
    with schema.create("numbered") as table:
        getattr(table, kind)("id")
        table.decimal("total", 10, 2)

    for total in ("10.50", "9.05"):
        database.get_query_builder().table("numbered").create({"total": Decimal(total)})

    def having(total):
        return database.get_query_builder().table("numbered").where("total", "<=", Decimal(total)).order_by("id").get()

    assert [(row["id"], Decimal(str(row["total"]))) for row in having("10.50")] == [
        (1, Decimal("10.5")),
        (2, Decimal("9.05")),
    ]
    assert [row["id"] for row in having("9.9")] == [2]


def test_garbage_collector_does_not_wait_for_a_statement_of_another_thread(tmp_path):
    """It holds the GIL: the writer that the statement waits for could not go on."""
    install()
    details = sqlite_details(tmp_path, options={"timeout": 10.0})
    database = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    create_accounts(database)
    writer = sqlite3.connect(details["database"], isolation_level=None, check_same_thread=False)
    errors, is_waiting = [], threading.Event()

    def write():
        with application.scope():
            builder = table(database)
            with suppress(UniqueViolation):  # sqlite3 keeps the statement of a cursor that failed
                builder.create({"id": 1, "balance": 0})
            cycle = [builder]
            cycle.append(cycle)
            del builder, cycle
            writer.execute("BEGIN IMMEDIATE")
            is_waiting.set()
            try:
                table(database).where("id", 1).update({"balance": 7})
            except QueryException as error:
                errors.append(error)

    application = make_application()
    thread = threading.Thread(target=write)
    thread.start()
    is_waiting.wait(LIMIT)
    for _ in range(4):  # one of them while the statement runs
        time.sleep(0.1)
        gc.collect()
    writer.execute("COMMIT")
    thread.join(LIMIT)
    writer.close()

    assert errors == [] and balance(database) == 7


meeting = threading.Barrier(2)
armed = threading.local()


class Author(Model):
    __timestamps__ = None

    def is_loaded(self):
        """Called by the ORM after it has made the query of a relationship, and before it adds the condition."""
        if getattr(armed, "is_set", False):
            armed.is_set = False
            meeting.wait(LIMIT)
        return super().is_loaded()

    @has_many("id", "author_id")
    def books(self):
        return Book

    @belongs_to_many("author_id", "prize_id", "id", "id", table="author_prize")
    def prizes(self):
        return Prize


class Book(Model):
    __timestamps__ = None

    @belongs_to("author_id", "id")
    def author(self):
        return Author


class Prize(Model):
    __timestamps__ = None


TABLES = """
CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE books (id INTEGER PRIMARY KEY, author_id INTEGER);
CREATE TABLE prizes (id INTEGER PRIMARY KEY);
CREATE TABLE author_prize (id INTEGER PRIMARY KEY, author_id INTEGER, prize_id INTEGER);
"""


@pytest.fixture
def authors(tmp_path, monkeypatch):
    """Create eight authors with three books and one prize each, in the database of the models."""
    install()
    details = sqlite_details(tmp_path)
    database = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    monkeypatch.setitem(sys.modules, "configured_database", SimpleNamespace(DB=database))
    monkeypatch.setenv("DB_CONFIG_PATH", "configured_database")
    with database.transaction():
        for statement in filter(str.strip, TABLES.split(";")):
            database.get_query_builder().statement(statement)
        for number in range(1, 9):
            Author.create({"id": number, "name": f"author-{number}"})
            Prize.create({"id": number})
            database.get_query_builder().table("author_prize").create({"author_id": number, "prize_id": number})
            for book in range(3):
                Book.create({"id": number * 10 + book, "author_id": number})


@pytest.mark.parametrize("relationship", ["books", "prizes"])
def test_relationship_that_two_threads_read_at_once_has_the_rows_of_its_model(authors, relationship):
    found = {}

    def read(number):
        author = Author.find(number)
        armed.is_set = True
        found[number] = [row.id for row in getattr(author, relationship)]

    threads = [threading.Thread(target=read, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)

    expected = {"books": {1: [10, 11, 12], 2: [20, 21, 22]}, "prizes": {1: [1], 2: [2]}}
    assert found == expected[relationship]


def test_relationships_have_their_rows_under_threads(authors):
    wrong, barrier = [], threading.Barrier(4)

    def read(number):
        barrier.wait(LIMIT)
        expected = [number * 10 + book for book in range(3)]
        for _ in range(10):
            author = Author.find(number)
            eager = Author.with_("books").where("id", number).first()
            found = [
                sorted(book.id for book in author.books),
                sorted(book.id for book in eager.books),
                [prize.id for prize in author.prizes],
                Book.find(number * 10).author.id,
                Book.where_has("author", lambda query: query.where("name", f"author-{number}")).count(),
            ]
            if found != [expected, expected, [number], number, 3]:
                wrong.append(found)

    def run(number):
        try:
            read(number)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert wrong == []
