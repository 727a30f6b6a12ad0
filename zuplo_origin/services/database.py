"""Masonite's ORM, safe under threads: its connections and transactions belong to a request, a job or a thread.

``install`` puts the connection classes of this module in the places of the ORM's. Models, queries, migrations, seeds
and ``config/database.py`` stay as Masonite documents them.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import masoniteorm.connections
import masoniteorm.relationships
from masoniteorm.connections import ConnectionResolver, MySQLConnection, PostgresConnection, SQLiteConnection
from masoniteorm.exceptions import QueryException
from masoniteorm.query import QueryBuilder
from masoniteorm.schema.platforms import SQLitePlatform

from zuplo_origin.http.kernel import Provider

from . import connections
from .connections import DatabaseUnavailable, Lease, Pool, UniqueViolation
from .start import configured, name_of_setting, problem_with_number, stop

__all__ = ["DatabaseProvider", "DatabaseUnavailable", "UniqueViolation", "install"]

READY_SECONDS = 1.0
"""Time in which the database must respond to ``/health/ready``."""
STATEMENT_SECONDS = 30.0
"""The default of the option ``statement_timeout`` in servers. Commands and jobs have no limit."""


class _Borrowed:
    """A connection of the ORM that borrows the one of the current request, job or thread for each statement."""

    full_details: Mapping[str, Any]
    schema: str | None = None

    def make_connection(self) -> Any:
        self.open = 1  # or the ORM's connection to MySQL connects again
        return self

    def begin(self) -> Any:
        self._lease().begin()
        return self

    def commit(self) -> Any:
        self._end("commit")
        return self

    def rollback(self) -> Any:
        self._end("rollback")
        return self

    def _end(self, how: str) -> None:
        lease = self._lease()
        try:
            getattr(lease, how)()
        finally:
            connections.release(lease)

    def get_transaction_level(self) -> int:
        """Return 1: the ORM closes a connection after each query that is in no transaction."""
        return 1

    def close_connection(self) -> None:
        """Keep the connection: it is returned to its pool at the end of the request."""

    def query(self, query: Any, bindings: Any = (), results: Any = "*") -> Any:
        lease = self._lease()
        try:
            with lease.statement() as self._connection:
                began = time.perf_counter()
                try:
                    return super().query(query, bindings, results)  # type: ignore[misc]
                finally:
                    connections.add_timing(lease.pool, query, began)
                    # Not by the garbage collector: it runs in any thread, holds the GIL, and would wait for the lock
                    # of this connection, which another statement on it holds while it waits for SQLite's writer.
                    connections.close(self.__dict__.get("_cursor"))
        except QueryException as error:
            if error.__cause__ is not None and lease.pool.driver.is_duplicate(error.__cause__):
                raise UniqueViolation(str(error)) from error.__cause__
            raise
        finally:
            connections.release(lease)

    def select_many(self, query: str, bindings: Any, amount: int) -> Iterator[list[dict[str, Any]]]:
        """Read a result in parts of ``amount`` rows. PostgreSQL keeps the rest of it on the server."""
        lease = self._lease()
        lease.pins += 1
        cursor = None
        try:
            with lease.statement() as self._connection:
                cursor = self._cursor = lease.pool.driver.many(self._connection)
                began = time.perf_counter()
                try:
                    self.statement(query.replace("?", self._placeholder), bindings)  # type: ignore[attr-defined]
                finally:
                    connections.add_timing(lease.pool, query, began)
            while True:
                with lease.statement():
                    rows = [dict(row) for row in cursor.fetchmany(amount)]
                if not rows:
                    return
                yield rows
        finally:
            lease.pins -= 1
            with lease.lock:
                connections.close(cursor)
            connections.release(lease)

    _placeholder = "%s"

    def _lease(self) -> Lease:
        return connections.lease_of(connections.pools.of(self.full_details, self.schema))


class Sqlite(_Borrowed, SQLiteConnection):
    _placeholder = "?"


class Postgres(_Borrowed, PostgresConnection):
    pass


class MySql(_Borrowed, MySQLConnection):
    pass


def _pool(resolver: Any, name: str | None) -> Pool:
    details = resolver.get_connection_details()
    return connections.pools.of(details[name or details["default"]], None)


def _begin_transaction(self: Any, name: str | None = None) -> Any:
    """Begin a transaction of the current request, job or thread; in an open one, set a savepoint."""
    connections.lease_of(_pool(self, name)).begin()
    details = self.get_connection_details()
    name = name or details["default"]
    kind = self.connection_factory.make(details[name]["driver"])
    return kind(**self.get_connection_information(name), name=name)


def _commit(self: Any, name: str | None = None) -> None:
    lease = connections.lease_of(_pool(self, name))
    try:
        lease.commit()
    finally:
        connections.release(lease)


def _rollback(self: Any, name: str | None = None) -> None:
    lease = connections.lease_of(_pool(self, name))
    try:
        lease.rollback()
    finally:
        connections.release(lease)


@contextmanager
def _transaction(self: Any, name: str | None = None) -> Iterator[Any]:
    """Run a ``with`` block in a transaction, which is rolled back if the block raises."""
    self.begin_transaction(name)
    try:
        yield self
    except BaseException:
        self.rollback(name)
        raise
    self.commit(name)


def _chunk(self: Any, amount: int) -> Iterator[Any]:
    """Read a result in parts. The ORM's own puts the values into the statement, where a quote is not escaped."""
    query = self.to_qmark()
    for rows in self.new_connection().select_many(query, self._bindings, amount):
        yield self.prepare_result(rows)


def _isolate(kind: Any) -> None:
    """Let a relationship of class ``kind`` keep its query in a copy for each access.

    The ORM keeps it in the relationship, which is one object for all threads: two that read ``user.posts`` at once put
    their conditions into one query.
    """
    get = kind.__get__

    def of_one_access(self: Any, instance: Any, owner: Any) -> Any:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return get(copied, instance, owner)

    kind.__get__ = of_one_access


def install() -> None:
    """Let the ORM of this process use the connections of this module."""
    if QueryBuilder.chunk is _chunk:
        return
    relationships: set[type] = set()
    kinds: dict[str, Any] = {"SQLiteConnection": Sqlite, "PostgresConnection": Postgres, "MySQLConnection": MySql}
    for name, kind in kinds.items():
        setattr(masoniteorm.connections, name, kind)  # where each resolver finds them
        masoniteorm.connections.ConnectionFactory.register(kind.name, kind)
    ConnectionResolver.begin_transaction, ConnectionResolver.transaction = _begin_transaction, _transaction
    ConnectionResolver.commit, ConnectionResolver.rollback = _commit, _rollback
    QueryBuilder.chunk = _chunk
    # SQLite gives a new row its number only if the type of the primary key is exactly INTEGER
    SQLitePlatform.type_map |= {"big_increments": "INTEGER", "tiny_increments": "INTEGER"}
    for kind in vars(masoniteorm.relationships).values():
        for base in getattr(kind, "__mro__", ()):
            if "__get__" in vars(base) and base.__module__.startswith("masoniteorm.relationships"):
                relationships.add(base)
    for kind in relationships:
        _isolate(kind)


def problems_of(databases: Any) -> Iterator[str]:
    """Yield a sentence for each fault of ``DATABASES`` in ``config/database.py``."""
    place, known = "config/database.py", "sqlite, postgres or mysql"
    if not isinstance(databases, Mapping):
        yield f"{place}: DATABASES: invalid value; expected a dict of connections"
        return
    default = databases.get("default")
    names = [name for name in databases if name != "default"]
    if default not in names:
        name = next(
            (each for each in ("DB_CONNECTION", "DB_DRIVER") if default and os.environ.get(each) == default), None
        )
        expected = f"expected a connection of this file: {', '.join(names)}"
        yield f"{name or f'{place}: default'}: invalid value {str(default)[:80]!r}; {expected}"
    for name in names:
        details = databases[name]
        if not isinstance(details, Mapping):
            yield f"{place}: {name}: invalid value; expected a dict of options"
            continue
        driver = details.get("driver")
        if name != default and driver == "mssql":
            continue  # Masonite's file has a connection for each driver
        if driver not in connections.DRIVERS:
            yield f"{place}: {name}: invalid driver {str(driver)[:80]!r}; expected {known}"
            continue
        if name == default and not details.get("database"):
            yield f"{place}: {name}: database not set"
        if driver != "sqlite":
            port = details.get("port")
            variable = name_of_setting(f"{place}: {name}: port", "DB_PORT", port)
            yield from problem_with_number(variable, port, 1, 65535)
        size = details.get("connection_pooling_max_size")
        yield from problem_with_number(f"{place}: {name}: connection_pooling_max_size", size, 1)


class DatabaseProvider(Provider):
    """Makes the ORM safe under threads. Named in ``config/providers.py``, after ``SettingsProvider``.

    Binds ``database`` and ``resolver``: the ``DB`` of ``config/database.py``. With ``READY_DATABASE``, binds
    ``database.is_ready``, which ``/health/ready`` asks.
    """

    def register(self) -> None:
        database = self.application.make("config").get("database.db")
        if database is None:
            stop(["DatabaseProvider needs config/database.py with DATABASES and DB."])
        if (databases := configured(self.application, "database.databases")) is not None:
            stop(problems_of(databases))
        install()
        if self.application.is_running_in_console() or self.application.is_running_tests():
            from .factories import mend_factories  # servers use no factories

            mend_factories()
        self.application.bind("database", database)
        self.application.bind("resolver", database)  # Masonite's name
        if not self.application.has("settings"):
            return
        settings = self.application.make("settings")
        DatabaseUnavailable.status = 503 if settings.database_503 else None
        if not self.application.is_running_in_console():
            connections.limits.connections = settings.threads + settings.streams
            connections.limits.statement_seconds = STATEMENT_SECONDS
        if settings.ready_database:
            probe = connections.Probe(lambda: _pool(database, None), READY_SECONDS)
            self.application.bind("database.is_ready", probe.is_ready)
