"""Database connections: a bounded pool for each process, from which each request, job or thread borrows.

A request keeps its connection until it ends, streams included. A thread outside a request returns it after each query,
or at the end of its transaction. Drivers are imported when the first connection is opened.
"""

import logging
import os
import re
import select
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any

from masoniteorm.connections.SQLiteConnection import regexp
from masoniteorm.exceptions import DriverNotFound, QueryException

from zuplo_origin.http.application import Application, Scope

log = logging.getLogger("zuplo_origin")

WAIT_SECONDS = 5.0
"""Time in which a connection of the pool must become free."""
CONNECT_SECONDS = 5
"""The default of the option ``connect_timeout``."""
IDLE_SECONDS = 60.0
"""Time after which an idle connection to a server is closed: the network may have forgotten it."""
GRACE_SECONDS = 5.0
"""Time past ``statement_timeout`` in which the server must have ended a statement; then its connection is closed."""


class DatabaseUnavailable(QueryException):
    """The database cannot be reached, a connection to it was lost, or none became free in time.

    A 500, or with ``DATABASE_503`` a 503 with ``Retry-After``: Masonite's protocol for exceptions with a status.
    """

    status: int | None = None

    def get_status(self) -> int | None:
        return self.status

    def get_response(self) -> None:
        """Return ``None``: the body is the usual one of the status."""

    def get_headers(self) -> dict[str, str]:
        return {"Retry-After": "5"}


class UniqueViolation(QueryException):
    """A row with these values exists: a unique index rejects another one."""


class _SqliteConnection(sqlite3.Connection):
    file: tuple[int, int] | None
    """Device and inode of the database."""


def _text_of(moment: Any) -> str:
    """Return a ``pendulum.DateTime`` as the ORM writes its own timestamps: in UTC, without the zone."""
    in_utc = moment.in_timezone("UTC") if moment.tzinfo else moment
    return str(in_utc.to_datetime_string())


class Driver:
    """SQLite, and what the drivers of other databases override. ``details`` is an entry of ``DATABASES``."""

    begin = "BEGIN IMMEDIATE"
    """Locks at once: a transaction that reads first and writes later fails when another one has written meanwhile."""

    def __init__(self, details: Mapping[str, Any], schema: str | None) -> None:
        self.details, self.schema = details, schema
        self.options: dict[str, Any] = dict(details.get("options") or {})
        self.statement_seconds = float(self.options.pop("statement_timeout", limits.statement_seconds) or 0)

    def open(self) -> Any:
        import pendulum

        sqlite3.register_adapter(pendulum.DateTime, _text_of)  # the driver adapts `datetime` alone, not its subclasses
        sqlite3.register_adapter(Decimal, str)  # a column of type DECIMAL compares it as a number
        options = {"timeout": 20.0} | self.options
        journal_mode = options.pop("journal_mode", "wal")
        options |= {"isolation_level": None, "check_same_thread": False, "factory": _SqliteConnection}
        raw: Any = sqlite3.connect(self.details["database"], **options)
        with suppress(sqlite3.OperationalError):  # a file that cannot be written to
            raw.execute(f"PRAGMA journal_mode={journal_mode}")  # readers and one writer do not wait for each other
        raw.create_function("REGEXP", 2, regexp)
        raw.row_factory = sqlite3.Row
        self._set_foreign_keys(raw)
        raw.file = self._identity()
        return raw

    def _set_foreign_keys(self, raw: Any) -> None:
        if (wanted := self.details.get("foreign_keys")) is not None:
            raw.execute(f"PRAGMA foreign_keys = {'ON' if wanted else 'OFF'}")

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.details["database"])
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def is_usable(self, raw: Any, idle_seconds: float) -> bool:
        """Return whether an idle connection can be used: its file has not been replaced."""
        return bool(raw.file == self._identity())

    def is_lost(self, raw: Any, error: BaseException) -> bool:
        """Return whether ``error`` means that the connection cannot be used any more."""
        return False

    def is_duplicate(self, error: BaseException) -> bool:
        """Return whether ``error`` is the violation of a unique index."""
        return str(error).startswith("UNIQUE constraint failed")

    def is_in_transaction(self, raw: Any) -> bool:
        return bool(raw.in_transaction)

    def execute(self, raw: Any, statement: str) -> Any:
        """Run a statement of a transaction, and return its command tag, if the driver has one."""
        raw.execute(statement)

    def file_descriptor(self, raw: Any) -> int | None:
        return None

    def many(self, raw: Any) -> Any:
        """Return a cursor for a result that is read in parts."""
        return raw.cursor()

    @property
    def limit(self) -> int | None:
        """The number of connections; ``None`` for the one that the configuration says."""
        return 1 if self.details["database"] == ":memory:" else None  # each has a database of its own


class ServerDriver(Driver):
    begin = "BEGIN"
    limit = None

    def is_usable(self, raw: Any, idle_seconds: float) -> bool:
        """Return whether an idle connection can be used: a server that has closed it has sent something."""
        descriptor = self.file_descriptor(raw)
        if descriptor is None or descriptor < 0 or idle_seconds > IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return not poll.poll(0)

    def execute(self, raw: Any, statement: str) -> Any:
        with raw.cursor() as cursor:
            cursor.execute(statement)
            return getattr(cursor, "statusmessage", None)


class PostgresDriver(ServerDriver):
    def open(self) -> Any:
        psycopg2 = _import("psycopg2", "psycopg2-binary")
        options = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 30_000} | self.options
        settings = [options.pop("options", "")]
        if schema := self.schema or self.details.get("schema"):
            settings.append(f"-c search_path={schema}")
        if self.statement_seconds:
            settings.append(f"-c statement_timeout={int(self.statement_seconds * 1000)}")
        options["options"] = " ".join(filter(None, settings))
        keys = {"dbname": "database", "user": "user", "password": "password", "host": "host", "port": "port"}
        found = {key: self.details[name] for key, name in keys.items() if self.details.get(name)}
        raw = psycopg2.connect(**found, **options)
        raw.autocommit = True
        return raw

    def is_lost(self, raw: Any, error: BaseException) -> bool:
        import psycopg2

        if raw.closed or isinstance(error, psycopg2.InterfaceError):
            return True
        code = getattr(error, "pgcode", None)  # class 08: connection exceptions; 57P: the server shuts down
        return isinstance(error, psycopg2.OperationalError) and (code is None or code.startswith(("08", "57P")))

    def is_duplicate(self, error: BaseException) -> bool:
        return getattr(error, "pgcode", None) == "23505"  # unique_violation

    def is_in_transaction(self, raw: Any) -> bool:
        return bool(raw.info.transaction_status)

    def file_descriptor(self, raw: Any) -> int | None:
        return None if raw.closed else raw.fileno()

    def many(self, raw: Any) -> Any:
        """Return a cursor on the server: the driver's usual one receives the whole result first."""
        from psycopg2.extras import RealDictCursor

        return raw.cursor(f"many_{time.monotonic_ns()}", cursor_factory=RealDictCursor, withhold=True)


class MySqlDriver(ServerDriver):
    def open(self) -> Any:
        pymysql = _import("pymysql", "pymysql")
        import pendulum

        pymysql.converters.conversions[pendulum.DateTime] = pymysql.converters.escape_datetime
        options = {"connect_timeout": CONNECT_SECONDS} | self.options
        names = ("host", "user", "password", "database")
        found = {name: self.details[name] for name in names if self.details.get(name)}
        if self.details.get("port"):
            found["port"] = int(self.details["port"])
        if self.statement_seconds:
            options = {"read_timeout": self.statement_seconds, "write_timeout": self.statement_seconds} | options
        return pymysql.connect(cursorclass=pymysql.cursors.DictCursor, autocommit=True, **found, **options)

    def is_lost(self, raw: Any, error: BaseException) -> bool:
        return not raw.open or (error.args[:1] or (0,))[0] in (0, 1053, 2006, 2013)

    def is_duplicate(self, error: BaseException) -> bool:
        return error.args[:1] == (1062,)  # ER_DUP_ENTRY

    def is_in_transaction(self, raw: Any) -> bool:
        return bool(raw.server_status & 1)  # SERVER_STATUS_IN_TRANS

    def file_descriptor(self, raw: Any) -> int | None:
        sock = raw._sock  # no public name
        return None if sock is None else int(sock.fileno())


DRIVERS = {"sqlite": Driver, "postgres": PostgresDriver, "mysql": MySqlDriver}


def _import(module: str, package: str) -> Any:
    try:
        return __import__(module)
    except ModuleNotFoundError:
        raise DriverNotFound(f"{module} is not installed; add {package} to requirements.in") from None


class Limits:
    """Defaults that depend on the process: a server's are set by ``DatabaseProvider``."""

    connections: int = 16
    statement_seconds: float = 0


limits = Limits()


class Pool:
    """The connections of this process to one database: at most ``size``, those that are idle included."""

    def __init__(self, details: Mapping[str, Any], schema: str | None) -> None:
        driver = details.get("driver", "")
        if driver not in DRIVERS:
            raise DriverNotFound(f"no connections for the driver {driver!r}; use {', '.join(DRIVERS)}")
        self.details, self.driver = details, DRIVERS[driver](details, schema)
        self.size = self.driver.limit or int(details.get("connection_pooling_max_size") or limits.connections)
        self._free = threading.BoundedSemaphore(self.size)
        self._idle: list[tuple[Any, float]] = []  # append and pop are atomic

    def take(self) -> Any:
        """Return an open connection. Raises ``DatabaseUnavailable``."""
        if not self._free.acquire(timeout=WAIT_SECONDS):
            raise self.unavailable(f"none of {self.size} connections became free in {WAIT_SECONDS:.0f} s")
        try:
            while self._idle:
                raw, since = self._idle.pop()
                if self.driver.is_usable(raw, time.monotonic() - since):
                    return raw
                close(raw)
            return self.open()
        except BaseException:
            self._free.release()
            raise

    def open(self) -> Any:
        """Open a connection that does not count. Raises ``DatabaseUnavailable``."""
        try:
            return self.driver.open()
        except DriverNotFound:
            raise
        except Exception as error:
            raise self.unavailable(str(error).strip()) from error

    def give(self, raw: Any, is_lost: bool) -> None:
        """Take back a connection: close it if it was lost, otherwise keep it."""
        if is_lost:
            close(raw)
        else:
            self._idle.append((raw, time.monotonic()))
        self._free.release()

    def unavailable(self, reason: str) -> DatabaseUnavailable:
        log.warning("database_unavailable", extra={"fields": {"driver": self.details.get("driver"), "reason": reason}})
        return DatabaseUnavailable(reason)


KINDS = frozenset(("select", "insert", "update", "delete", "begin", "commit", "rollback"))
"""The kinds of statements that are timed by their names; any other is ``other``."""
_FIRST_WORD = re.compile(r"\s*([A-Za-z]+)")

Timer = Callable[[float], None]


class Timings:
    """Times statements for the metrics: ``timer`` returns a timer for a connection of ``databases`` and a kind."""

    def __init__(self, timer: Callable[[str, str], Timer], databases: Mapping[str, Any]) -> None:
        self._timer = timer
        self._names = {id(details): name for name, details in databases.items()}  # as in `Pools`
        self._timers: dict[tuple[int, str], Timer] = {}

    def add(self, pool: Pool, statement: Any, seconds: float) -> None:
        first = _FIRST_WORD.match(statement) if isinstance(statement, str) else None
        kind = first[1].lower() if first else "other"
        key = id(pool.details), kind if kind in KINDS else "other"
        if (timer := self._timers.get(key)) is None:
            timer = self._timers[key] = self._timer(self._names.get(key[0], "other"), key[1])
        timer(seconds)


timings: Timings | None = None


def time_statements(timer: Callable[[str, str], Timer], databases: Mapping[str, Any]) -> None:
    """Time the statements of this process from now on."""
    global timings
    timings = Timings(timer, databases)


def add_timing(pool: Pool, statement: Any, began: float) -> None:
    """Time a statement, which began at ``began`` (``time.perf_counter``) and has ended, if the metrics are enabled."""
    if timings is not None:
        timings.add(pool, statement, time.perf_counter() - began)


def close(raw: Any) -> None:
    """Close a connection or a cursor; ``None`` is allowed."""
    if raw is not None:
        with suppress(Exception):
            raw.close()


class Pools:
    """The pools of this process, one for each entry of ``DATABASES`` (and schema)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the creation of a pool
        self._pools: dict[tuple[int, str | None], Pool] = {}

    def of(self, details: Mapping[str, Any], schema: str | None) -> Pool:
        key = (id(details), schema)  # a pool keeps `details` alive, so the id is not used again
        if (pool := self._pools.get(key)) is None:
            with self._lock:
                pool = self._pools.setdefault(key, Pool(details, schema))
        return pool


class Lease:
    """A connection that a request, a job or a thread has borrowed, and its transaction.

    ``lock`` is held while a statement runs: two threads of a request use the connection one after the other.
    """

    def __init__(self, pool: Pool, outer: "Lease | None" = None) -> None:
        self.pool, self.outer = pool, outer
        self.lock: Any = outer.lock if outer else threading.RLock()
        self.level = 0
        self.pins = 0
        """Results that are being read in parts."""
        self.ends: float | None = None
        """When the running statement must have ended."""
        self._raw: Any = None
        self._is_lost = False

    @property
    def raw(self) -> Any:
        """The open connection. Raises ``DatabaseUnavailable``."""
        if self.outer:
            return self.outer.raw
        if self._is_lost and self.level:
            raise self.pool.unavailable("the connection was lost during this transaction, which is rolled back")
        if self._raw is None:
            self._raw, self._is_lost = self.pool.take(), False
        return self._raw

    @property
    def is_idle(self) -> bool:
        return self.level == 0 and self.pins == 0

    @contextmanager
    def statement(self) -> Iterator[Any]:
        """Run one statement on the connection: ``with lease.statement() as raw``."""
        with self.lock:
            raw = self.raw
            with self._as_in_production() if self.outer and self.level == 0 else self._watched():
                yield raw

    @contextmanager
    def _watched(self) -> Iterator[None]:
        lease = self.outer or self
        try:
            _watchdog.begin(lease)
            yield
        except Exception as error:
            if lease._raw is not None and lease.pool.driver.is_lost(lease._raw, error.__cause__ or error):
                lease.drop()
                raise lease.pool.unavailable(str(error).strip()) from error
            raise
        finally:
            lease.ends = None

    @contextmanager
    def _as_in_production(self) -> Iterator[None]:
        """Undo a statement that fails in a test's transaction, as if it had been committed or not by itself."""
        self.begin()
        try:
            with self._watched():
                yield
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def begin(self) -> None:
        """Begin a transaction, or set a savepoint in the open one."""
        with self.lock:
            self._execute(self.pool.driver.begin if self.depth == 0 else f"SAVEPOINT level_{self.depth}")
            self.level += 1

    def commit(self) -> None:
        """Commit the transaction, or release the last savepoint. If that fails, it is rolled back."""
        with self.lock:
            self._require_transaction()
            statement = "COMMIT" if self.depth == 1 else f"RELEASE SAVEPOINT level_{self.depth - 1}"
            try:
                tag = self._execute(statement)
            except BaseException:
                self.rollback()
                raise
            self.level -= 1
            if tag == "ROLLBACK":  # PostgreSQL's response to COMMIT after a statement has failed
                raise QueryException("the transaction was rolled back, because a statement in it had failed")

    def rollback(self) -> None:
        """Roll back the transaction, or to the last savepoint. A connection on which that fails is closed."""
        with self.lock:
            self._require_transaction()
            lease, savepoint = self.outer or self, f"level_{self.depth - 1}"
            is_outermost = self.depth == 1
            self.level -= 1
            if lease._raw is None:
                return
            try:
                if not is_outermost:
                    self._execute(f"ROLLBACK TO SAVEPOINT {savepoint}")
                    self._execute(f"RELEASE SAVEPOINT {savepoint}")
                elif lease.pool.driver.is_in_transaction(lease._raw):
                    self._execute("ROLLBACK")
            except Exception:
                lease.drop()

    @property
    def depth(self) -> int:
        return self.level + (self.outer.depth if self.outer else 0)

    def _require_transaction(self) -> None:
        if self.level == 0:
            raise QueryException("no transaction has begun in this request, job or thread")

    def _execute(self, statement: str) -> Any:
        with self._watched():
            raw, began = self.raw, time.perf_counter()
            try:
                return self.pool.driver.execute(raw, statement)
            finally:
                add_timing(self.pool, statement, began)

    def drop(self) -> None:
        """Close the connection, which is lost. An open transaction stays lost until it is rolled back."""
        raw, self._raw, self._is_lost = self._raw, None, True
        if raw is not None:
            self.pool.give(raw, is_lost=True)

    def end(self) -> None:
        """Roll back what was left open, and return the connection to the pool."""
        with self.lock:
            if self.level:
                log.warning("transaction_left_open", extra={"fields": {"driver": self.pool.details.get("driver")}})
            while self.level:
                self.rollback()
            raw, self._raw = self._raw, None
            if raw is not None:
                self.pool.give(raw, is_lost=not self._reset(raw))

    def _reset(self, raw: Any) -> bool:
        """End a transaction that was begun by a statement of the user's. Return whether the connection is usable."""
        try:
            if self.pool.driver.is_in_transaction(raw):
                self.pool.driver.execute(raw, "ROLLBACK")
        except Exception:
            return False
        return True


class Session:
    """The leases of one request, job or thread, by pool."""

    def __init__(self) -> None:
        self.leases: dict[Pool, Lease] = {}
        self.lock = threading.Lock()  # guards the creation of a lease
        self.has_ended = False

    def lease(self, pool: Pool, outer: Lease | None = None) -> Lease:
        if (lease := self.leases.get(pool)) is None:
            with self.lock:
                lease = self.leases.setdefault(pool, Lease(pool, outer))
        return lease

    def end(self) -> None:
        self.has_ended = True
        while self.leases:
            self.leases.popitem()[1].end()

    def __del__(self) -> None:
        if self.leases:  # of a thread that has ended
            self.end()


_KEY = "database.session"
"""The key of a scope's session."""
_thread = threading.local()


def _thread_session() -> Session:
    found: Session | None = getattr(_thread, "session", None)
    if found is None:
        found = _thread.session = Session()
    return found


def lease_of(pool: Pool) -> Lease:
    """Return the lease of the current request, job or thread.

    A scope that is opened within a transaction of its thread takes part in it: a request of a test.
    """
    scope: Scope | None = Application.current_scope()
    session = None
    if scope is not None:
        session = scope.get(_KEY)
        if session is None:
            created = Session()
            session = scope.setdefault(_KEY, created)
            if session is created:
                scope.at_end(created.end)
    own = getattr(_thread, "session", None)
    if session is None or session.has_ended:
        return _thread_session().lease(pool)
    outer = own.leases.get(pool) if own else None
    return session.lease(pool, outer if outer and outer.level else None)  # type: ignore[no-any-return]


def release(lease: Lease) -> None:
    """Return the connection of ``lease`` to its pool, if it is a thread's outside a request and nothing uses it."""
    session: Session | None = getattr(_thread, "session", None)
    if session is not None and session.leases.get(lease.pool) is lease and lease.is_idle:
        del session.leases[lease.pool]
        lease.end()


class Watchdog:
    """Closes the connection of a statement that does not end: a server that hangs does not enforce its own limit."""

    def __init__(self) -> None:
        self._leases: set[Lease] = set()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # guards the start of the thread

    def begin(self, lease: Lease) -> None:
        seconds = lease.pool.driver.statement_seconds
        if not seconds or not isinstance(lease.pool.driver, PostgresDriver):
            return
        lease.ends = time.monotonic() + seconds + GRACE_SECONDS
        self._leases.add(lease)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="database", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(0.5)
            now = time.monotonic()
            for lease in list(self._leases):
                ends = lease.ends
                if ends is None:
                    self._leases.discard(lease)
                    if lease.ends is not None:  # a statement has begun meanwhile
                        self._leases.add(lease)
                elif ends < now:
                    self._leases.discard(lease)
                    with suppress(Exception):  # the statement has just ended, and its connection is closed
                        _shut_down(lease)


def _shut_down(lease: Lease) -> None:
    """Close the socket under a statement, which then fails. The thread that waits for it closes the connection."""
    raw = lease._raw
    descriptor = lease.pool.driver.file_descriptor(raw) if raw is not None else None
    if descriptor is None:
        return
    with socket.socket(fileno=os.dup(descriptor)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


pools = Pools()
_watchdog = Watchdog()
_inherited: list[Any] = []


def _forget_connections() -> None:
    """Let a forked process open connections of its own. Those of its parent stay referenced, and are never closed."""
    global pools, _watchdog
    _inherited.append((pools, getattr(_thread, "session", None)))
    pools, _watchdog = Pools(), Watchdog()
    _thread.__dict__.clear()


os.register_at_fork(after_in_child=_forget_connections)


class Probe:
    """Asks the database, in a thread and over a connection of its own, whether it responds.

    One question is open at a time. A caller that asks meanwhile waits for its result, no longer than ``seconds``.
    """

    def __init__(self, pool: Callable[[], Pool], seconds: float) -> None:
        self._pool, self._seconds = pool, seconds
        self._lock = threading.Lock()  # guards what follows
        self._running: threading.Event | None = None
        self._result, self._expires = False, 0.0

    def is_ready(self) -> bool:
        """Return the response of the last second, or a new one."""
        with self._lock:
            if time.monotonic() < self._expires:
                return self._result
            if self._running is None:
                self._running, self._result = threading.Event(), False
                threading.Thread(target=self._run, args=(self._running,), name="database", daemon=True).start()
            running = self._running
        if not running.wait(self._seconds):
            self._expires = time.monotonic() + self._seconds
            return False
        return self._result

    def _run(self, running: threading.Event) -> None:
        raw = None
        try:
            raw = self._pool().open()
            raw.cursor().execute("SELECT 1")
            self._result = True
        except Exception:  # noqa: S110  # open() has logged it
            pass
        finally:
            close(raw)
            with self._lock:
                self._running, self._expires = None, time.monotonic() + self._seconds
            running.set()
