"""Queues: jobs in threads of this process (``async``), or in a table from which workers take them (``database``)."""

import atexit
import hmac
import logging
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from inspect import isclass
from typing import Any, NamedTuple

import pendulum
from masonite.drivers.queue import AsyncDriver as MasoniteAsyncDriver
from masonite.drivers.queue import DatabaseDriver as MasoniteDatabaseDriver
from masonite.exceptions import QueueException
from masonite.queues import Queue as MasoniteQueue
from masonite.utils.time import parse_human_time

from zuplo_origin.http.errors import HttpException
from zuplo_origin.http.kernel import Provider
from zuplo_origin.http.requests import REQUEST_ID
from zuplo_origin.settings import EXPECTED_KEY, SHORTEST_KEY, raw_value

from .common import own_log_id, read
from .start import configured, is_server, name_of_setting, problem_with_connection, problem_with_number, stop

log = logging.getLogger("zuplo_origin.queue")

ATTEMPTS, POLL, RETRY_AFTER = 3, 1.0, 90.0
"""Defaults of a driver's options: how often a job is tried, seconds between look-ups, and seconds after which a job is
tried again if its worker has died.
"""
WAITING_JOBS = 1000
"""Jobs of the driver ``async`` that wait in a process, unless its option ``size`` says otherwise."""
LONGEST_BACK_OFF = 30.0
"""Seconds between two attempts to reach a database that is down."""
_HEADER = b"zuplo_origin.job.1\n"
_UNSUPPORTED = (
    "config/queue.py: the driver {name!r} is not supported, because a job could be lost or run unchecked; "
    "use 'database', with workers that run queue:work"
)


class QueueFull(HttpException):
    """Too many jobs of the driver ``async`` wait in this process. Responded to with 503."""

    def __init__(self, size: int) -> None:
        super().__init__(503, headers={"Retry-After": "1"}, reason=f"{size} jobs wait already")


class BadJob(Exception):
    """A job that cannot be run, however often it is tried. The text is the reason."""


def report(event: str, level: int = logging.INFO, failed: bool = False, **fields: Any) -> None:
    log.log(level, event, extra={"fields": fields}, exc_info=failed)


class Signer:
    """Signs serialized jobs with a key that is derived from ``APP_KEY``, and rejects others before they are read.

    Reading a pickle can run any code: a program that writes to the table of jobs could run code in the workers.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._derived: bytes | None = None

    def problem(self) -> str | None:
        """Return why there is no key, in one sentence; ``None`` if there is one."""
        secret = str(raw_value(self._application.make("config"), "APP_KEY") or "")
        if len(secret.encode()) >= SHORTEST_KEY:
            return None
        found = "is shorter" if secret else "is not set"
        return f"APP_KEY {found}; the queue driver 'database' signs jobs with it: set {EXPECTED_KEY}"

    def _key(self) -> bytes:
        if self._derived is None:
            if (problem := self.problem()) is not None:
                raise QueueException(problem)
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF

            secret = str(raw_value(self._application.make("config"), "APP_KEY")).strip().encode()
            self._derived = HKDF(SHA256(), 32, salt=None, info=b"zuplo_origin jobs").derive(secret)
        return self._derived

    def dump(self, job: dict[str, Any]) -> bytes:
        """Return ``job``, serialized and signed."""
        content = pickle.dumps(job)
        return _HEADER + hmac.digest(self._key(), content, "sha256") + content

    def load(self, payload: Any) -> dict[str, Any]:
        """Return the job in ``payload``. Raises ``BadJob`` if it is not signed, or cannot be read."""
        data = payload.encode("latin-1", "replace") if isinstance(payload, str) else bytes(payload or b"")
        mac, content = data[len(_HEADER) : len(_HEADER) + 32], data[len(_HEADER) + 32 :]
        if not data.startswith(_HEADER) or not hmac.compare_digest(mac, hmac.digest(self._key(), content, "sha256")):
            raise BadJob("its signature is wrong: another APP_KEY, or another program wrote it")
        try:
            job: dict[str, Any] = pickle.loads(content)  # noqa: S301  # signed by this application
            return {"obj": job["obj"], "args": job["args"], "callback": job["callback"], "rid": job.get("rid")}
        except Exception as error:
            raise BadJob(f"it cannot be read: {type(error).__name__}: {error}") from error


def run(application: Any, job: Any, arguments: Any, callback: str) -> None:
    """Call the method ``callback`` of ``job``, or ``job`` itself if it has none."""
    if isclass(job):
        job = application.resolve(job)
    method = getattr(job, callback, job)
    method(*arguments)


def name_of(job: Any) -> str:
    """Return the name of a job for logs and tables: its class, or the function's name."""
    found = getattr(job, "job_name", None) or getattr(job, "__qualname__", None) or type(job).__qualname__
    return str(found)[:190]


def call_failed(application: Any, job: Any, description: dict[str, Any], error: BaseException) -> None:
    """Call the method ``failed`` of a job that is not tried again. An exception is logged."""
    try:
        if not isclass(job) and hasattr(job, "failed"):
            with application.scope():
                job.failed(description, str(error))
    except Exception:
        report("queue_job_failed", logging.ERROR, True, job=name_of(job), during="failed")


def count(application: Any, driver: str, outcome: str, began: float | None = None) -> None:
    """Count a job for the metrics, if they are enabled; ``began`` is when it began to run (``time.monotonic``)."""
    if application.has("metrics"):
        application.make("metrics").job(driver, outcome, None if began is None else time.monotonic() - began)


class AsyncJobs:
    """Threads that run jobs, and the jobs that wait for them. The threads start with the first job."""

    def __init__(self, application: Any, workers: int, size: int) -> None:
        self._application, self._workers, self._size = application, workers, size
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[Callable[[], None]] = deque()
        self._running, self._threads = 0, 0

    def submit(self, job: Callable[[], None]) -> None:
        """Run ``job`` as soon as a thread is free. Raises ``QueueFull``."""
        with self._changed:
            if len(self._waiting) >= self._size:
                count(self._application, "async", "rejected")
                raise QueueFull(self._size)
            self._waiting.append(job)
            if self._threads < self._workers:
                if not self._threads:
                    atexit.register(self.stop, 5.0)  # for servers that do not call it
                self._threads += 1
                threading.Thread(target=self._serve, name="job", daemon=True).start()
            self._changed.notify()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                job = self._waiting.popleft()
                self._running += 1
            try:
                job()
            finally:
                del job  # or an idle thread keeps its last job alive
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def stop(self, seconds: float) -> None:
        """Wait until all jobs have ended, for ``seconds`` at most. Those that have not are lost, which is logged."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._running, max(0.0, seconds))
            waiting, running = len(self._waiting), self._running
            self._waiting.clear()
        if waiting or running:
            report("queue_jobs_lost", logging.ERROR, waiting=waiting, running=running)


class AsyncDriver(MasoniteAsyncDriver):
    """Masonite's driver ``async``: threads of this process run the jobs. A process that ends loses those that wait."""

    def __init__(self, application: Any, jobs: AsyncJobs) -> None:
        super().__init__(application)
        self.jobs = jobs

    def push(self, *jobs: Any, args: Any = (), **options: Any) -> None:
        """Run ``jobs``, each in a thread and a scope of its own. Raises ``QueueFull`` (503) if too many wait."""
        if options.get("delay") not in (None, "now"):
            raise QueueException("the queue driver 'async' has no delay; push to the driver 'database'")
        callback, pushed_by = options.get("callback") or self.options.get("callback") or "handle", REQUEST_ID.get()
        for job in jobs:
            if self.options.get("blocking"):
                self._run(job, args, callback, pushed_by)
            else:
                self.jobs.submit(lambda job=job: self._run(job, args, callback, pushed_by))  # type: ignore[misc]
            count(self.application, "async", "pushed")

    def _run(self, job: Any, arguments: Any, callback: str, pushed_by: str | None) -> None:
        fields = {"driver": "async", "queue": self.options["queue"], "job": name_of(job), "pushed_by": pushed_by}
        began = time.monotonic()
        with own_log_id():
            try:
                with self.application.scope():
                    run(self.application, job, arguments, callback)
            except (Exception, SystemExit) as error:
                report("queue_job_failed", logging.ERROR, True, **fields)
                count(self.application, "async", "failed", began)
                call_failed(self.application, job, {"obj": job, "args": arguments, "callback": callback}, error)
            else:
                report("queue_job_done", ms=_ms(began), **fields)
                count(self.application, "async", "done", began)

    def consume(self, **options: Any) -> None:
        raise QueueException("the jobs of the queue driver 'async' run in the process that pushes them; no worker can")

    def retry(self, **options: Any) -> None:
        raise QueueException("the queue driver 'async' keeps no failed jobs")


def _ms(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 2)


class Claimed(NamedTuple):
    """A job that this worker has claimed: the row of the table, and which attempt this is."""

    row: dict[str, Any]
    attempt: int

    @property
    def id(self) -> Any:
        return self.row["id"]


class DatabaseDriver(MasoniteDatabaseDriver):
    """Masonite's driver ``database``: a table of jobs, from which each worker claims one at a time.

    Options: ``connection``, ``table``, ``failed_table`` (``None`` keeps no failed jobs), ``attempts``, ``poll``,
    ``tz``, and ``retry_after``, the seconds after which a job is tried again if its worker has died.
    """

    def __init__(self, application: Any, signer: Signer) -> None:
        super().__init__(application)
        self.signer = signer

    def push(self, *jobs: Any, args: Any = (), **options: Any) -> None:
        """Write ``jobs`` to the table. ``delay="10 minutes"`` makes them wait."""
        available_at = parse_human_time(options.get("delay") or "now")
        if available_at is None:
            raise QueueException(f"delay: {options['delay']!r} is not a time such as '10 minutes'")
        available = available_at.in_timezone(self._zone()).to_datetime_string()
        callback = options.get("callback") or self.options.get("callback") or "handle"
        for job in jobs:
            described = {"obj": job, "args": args, "callback": callback, "rid": REQUEST_ID.get()}
            self._insert(name_of(job), self.signer.dump(described), self.options.get("queue") or "default", available)
            count(self.application, "database", "pushed")

    def _insert(self, name: str, payload: Any, queue: str, available: str) -> None:
        self._table().create(
            {
                "name": name,
                "payload": payload,
                "available_at": available,
                "attempts": 0,
                "queue": queue,
                "created_at": self._time(),
            }
        )

    def consume(self) -> None:
        """Run jobs until TERM or INT, which let the job that runs end.

        Raises ``QueueException`` if there is no key, or if a table is missing.
        """
        self.signer.dump({})
        self._check_tables()
        Worker(self).run()

    def _check_tables(self) -> None:
        """Raise ``QueueException`` if a table is missing. A database that is down is waited for later."""
        try:
            self._table().statement("SELECT 1")
        except Exception:
            return
        for option, command in (("table", "queue:table"), ("failed_table", "queue:failed")):
            name = self.options.get(option, "jobs" if option == "table" else None)
            try:
                if name:
                    self._builder(name).limit(1).get()
            except Exception as error:
                raise QueueException(
                    f"the table {name!r} cannot be read; run craft {command} and craft migrate ({type(error).__name__})"
                ) from error

    def retry(self) -> None:
        """Move the failed jobs of the queue back to it."""
        queue = self.options.get("queue") or "default"
        rows = list(self._failed_table().where("queue", queue).where("driver", "database").order_by("id").get())
        for row in rows:
            self._insert(str(row["name"]), _bytes(row["payload"]), str(row["queue"]), self._time())
            self._failed_table().where("id", row["id"]).delete()
        self.success(f"Added {len(rows)} failed job(s) back to the queue" if rows else "No failed jobs found.")

    # -- the table, for workers ---------------------------------------------------------------------------------------

    def claim(self) -> Claimed | None:
        """Claim the oldest job that is due, and return it; ``None`` if there is none.

        The update finds the row only as it was read: of several workers that try it, one succeeds.
        """
        now = self._now()
        for row in list(self._due(self._table(), now).order_by("id").limit(10).get()):
            attempt = int(row["attempts"]) + 1
            builder = self._due(self._table().where("id", row["id"]).where("attempts", row["attempts"]), now)
            builder.update({"attempts": attempt, "reserved_at": self._time(), "ran_at": self._time()})
            if builder.new_connection().get_row_count() == 1:
                return Claimed(dict(row), attempt)
        return None

    def _due(self, builder: Any, now: Any) -> Any:
        """Restrict ``builder`` to jobs of this queue that are due, and that no living worker runs."""
        expired = now.subtract(seconds=float(self.options.get("retry_after") or RETRY_AFTER)).to_datetime_string()
        return (
            builder.where("queue", self.options.get("queue") or "default")
            .where("available_at", "<=", now.to_datetime_string())
            .where(lambda query: query.where_null("reserved_at").or_where("reserved_at", "<=", expired))
        )

    def renew(self, job: Claimed) -> None:
        """Note that this worker still runs ``job``."""
        self._own(job).update({"reserved_at": self._time()})

    def release(self, job: Claimed) -> None:
        """Let ``job`` be tried again, after ``poll`` seconds."""
        available = self._now().add(seconds=int(float(self.options.get("poll") or POLL)) or 1).to_datetime_string()
        self._own(job).update({"reserved_at": None, "available_at": available})

    def remove(self, job: Claimed) -> None:
        self._own(job).delete()

    def move_to_failed(self, job: Claimed, reason: str) -> None:
        """Move ``job`` to the table of failed jobs. A worker that dies in between leaves it in both."""
        if self.options.get("failed_table"):
            self._failed_table().create(
                {
                    "driver": "database",
                    "queue": job.row["queue"],
                    "name": job.row["name"],
                    "connection": str(self.options.get("connection") or "default"),
                    "exception": _text(reason),
                    "payload": _bytes(job.row["payload"]),
                    "created_at": self._time(),
                    "failed_at": self._time(),
                }
            )
        self.remove(job)

    def _own(self, job: Claimed) -> Any:
        return self._table().where("id", job.id).where("attempts", job.attempt)

    def _table(self) -> Any:
        return self._builder(self.options.get("table") or "jobs")

    def _failed_table(self) -> Any:
        return self._builder(self.options.get("failed_table") or "failed_jobs")

    def _builder(self, table: str) -> Any:
        from masoniteorm.query import QueryBuilder

        return QueryBuilder(connection=self.options.get("connection") or "default").table(table)

    def _zone(self) -> str:
        return str(self.options.get("tz") or "UTC")

    def _now(self) -> Any:
        return pendulum.now(tz=self._zone())

    def _time(self) -> str:
        return str(self._now().to_datetime_string())


def _text(reason: str) -> str:
    """Return ``reason`` as a database can keep it: PostgreSQL has no NUL, and no encoding has lone surrogates."""
    return reason[:5000].replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _bytes(payload: Any) -> Any:
    return bytes(payload) if isinstance(payload, memoryview) else payload


class Worker:
    """Claims and runs the jobs of a queue, one at a time."""

    def __init__(self, driver: DatabaseDriver) -> None:
        self._driver, self._application = driver, driver.application
        options = driver.options
        self._queue = str(options.get("queue") or "default")
        self._poll = max(0.05, float(options.get("poll") or POLL))
        self._attempts = int(options.get("attempts") or ATTEMPTS)
        self._beat = float(options.get("retry_after") or RETRY_AFTER) / 3
        self._stopping = threading.Event()
        self._current: Claimed | None = None
        self._outage = 0.0

    def run(self) -> None:
        """Run jobs until TERM or INT."""
        threading.Thread(target=self._keep_claim, name="claim", daemon=True).start()
        with self._signals():
            report("queue_worker_started", queue=self._queue)
            while not self._stopping.is_set():
                claimed = self._persist(self._driver.claim)
                if claimed is not None:
                    self._current = claimed
                    try:
                        with own_log_id():
                            self._work(claimed)
                    finally:
                        self._current = None
                else:
                    self._stopping.wait(self._poll)
            report("queue_worker_stopped", queue=self._queue)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, lambda *_: self._stopping.set()) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _work(self, claimed: Claimed) -> None:
        fields = {"driver": "database", "queue": self._queue, "job": claimed.row["name"], "id": claimed.id}
        fields["attempt"], began = claimed.attempt, time.monotonic()
        try:
            if claimed.attempt > self._attempts:  # it ends its workers: an exception would have been counted
                raise BadJob(f"its workers ended while they ran it, {self._attempts} times")
            job = self._driver.signer.load(claimed.row["payload"])
        except BadJob as bad:
            report("queue_job_moved", logging.ERROR, why=str(bad), **fields)
            count(self._application, "database", "failed")
            reason = str(bad)
            self._persist(lambda: self._driver.move_to_failed(claimed, reason))
            return
        fields["pushed_by"] = job["rid"]
        try:
            with self._application.scope():  # it ends before the row is changed, with the transactions of the job
                run(self._application, job["obj"], job["args"], job["callback"])
        except (Exception, SystemExit) as error:
            is_last = claimed.attempt >= self._attempts
            report("queue_job_failed", logging.ERROR, True, is_last=is_last, **fields)
            count(self._application, "database", "failed" if is_last else "retried")
            if is_last:
                reason = f"{type(error).__name__}: {error}"
                self._persist(lambda: self._driver.move_to_failed(claimed, reason))
                call_failed(self._application, job["obj"], job, error)
            else:
                self._persist(lambda: self._driver.release(claimed))
        else:
            self._persist(lambda: self._driver.remove(claimed))
            report("queue_job_done", ms=_ms(began), **fields)
            count(self._application, "database", "done")

    def _persist(self, action: Callable[[], Any]) -> Any:
        """Return the value of ``action``, which uses the database. Try it again while the database is down.

        After TERM it is tried once more only: another worker runs the job after ``retry_after``.
        """
        delay = self._poll
        while True:
            try:
                with self._application.scope():  # a connection that is lost is not used for the next attempt
                    value = action()
            except Exception as error:
                now = time.monotonic()
                if not self._outage or now - self._outage > LONGEST_BACK_OFF:
                    self._outage = now
                    why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                    report("queue_database_down", logging.ERROR, queue=self._queue, why=why)
                if self._stopping.is_set():
                    return None
                self._stopping.wait(delay)
                delay = min(delay * 2, LONGEST_BACK_OFF)
            else:
                if self._outage:
                    self._outage = 0.0
                    report("queue_database_back", queue=self._queue)
                return value

    def _keep_claim(self) -> None:
        """Renew the claim of the job that runs, so that no other worker takes it."""
        while not self._stopping.wait(self._beat) or self._current is not None:
            current = self._current
            if current is not None:
                with suppress(Exception), self._application.scope():
                    self._driver.renew(current)
            if self._stopping.is_set():
                time.sleep(min(self._beat, 1.0))


class UnsupportedDriver:
    """A driver of Masonite that cannot be used here: each call raises ``QueueException`` with the reason."""

    def __init__(self, name: str) -> None:
        self._why = _UNSUPPORTED.format(name=name)

    def set_options(self, options: dict[str, Any]) -> "UnsupportedDriver":
        return self

    def push(self, *jobs: Any, **options: Any) -> None:
        raise QueueException(self._why)

    def consume(self) -> None:
        raise QueueException(self._why)

    def retry(self) -> None:
        raise QueueException(self._why)


class Queue(MasoniteQueue):
    """Masonite's ``Queue``, bound as ``queue``: each call uses a driver with options of its own."""

    def push(self, *jobs: Any, **options: Any) -> None:
        """Put ``jobs`` on the queue ``queue`` of the driver ``driver``; ``args`` are the arguments of their method."""
        driver = self._with_options(options.get("driver"), {"queue": options.get("queue") or "default"})
        driver.push(*jobs, args=options.pop("args", ()), **options)

    def consume(self, options: dict[str, Any]) -> Any:
        """Run jobs until the process is stopped. Options that are ``None`` are those of the configuration."""
        return self._with_options(options.get("driver"), options).consume()

    def retry(self, options: dict[str, Any]) -> Any:
        """Move failed jobs back to their queue."""
        return self._with_options(options.get("driver"), options).retry()

    def _with_options(self, name: str | None, options: dict[str, Any]) -> Any:
        name = name or self.driver_config.get("default")
        if name not in self.drivers:
            raise QueueException(f"there is no queue driver {name!r}, but {', '.join(self.drivers)}")
        given = {key: value for key, value in options.items() if value is not None and key != "driver"}
        return copy(self.drivers[name]).set_options({**self.get_config_options(name), **given})

    def get_config_options(self, driver: str | None = None) -> dict[str, Any]:
        return dict(self.driver_config.get(driver or self.driver_config.get("default")) or {})


class MockQueue(Queue):
    """The fake of ``queue`` in tests: it keeps the jobs in ``pushed``, and runs none."""

    def __init__(self, application: Any) -> None:
        super().__init__(application)
        self.pushed: list[tuple[Any, dict[str, Any]]] = []

    def reset(self) -> None:
        self.pushed = []

    def push(self, *jobs: Any, **options: Any) -> None:
        self.pushed += [(job, options) for job in jobs]

    def jobs(self, kind: type | None = None) -> list[Any]:
        """Return the jobs that were pushed; with ``kind``, those of this class."""
        return [job for job, _ in self.pushed if kind is None or job is kind or isinstance(job, kind)]

    def assertPushed(self, kind: type, count: int | None = None) -> "MockQueue":
        found = len(self.jobs(kind))
        assert found and count in (None, found), f"{kind.__name__} was pushed {found} times"  # noqa: S101
        return self

    def assertNotPushed(self, kind: type) -> "MockQueue":
        found = len(self.jobs(kind))
        assert not found, f"{kind.__name__} was pushed {found} times"  # noqa: S101
        return self

    def assertNothingPushed(self) -> "MockQueue":
        names = [name_of(job) for job in self.jobs()]
        assert not names, f"{names} were pushed"  # noqa: S101
        return self


def problems_of(application: Any, drivers: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each fault in the options of ``DRIVERS`` in ``config/queue.py``."""
    place = "config/queue.py"
    for name in ("async", "database"):
        options = drivers.get(name, {})
        if not isinstance(options, dict):
            yield f"{place}: {name}: invalid value {str(options)[:80]!r}; expected a dict of options"
            continue
        for option in ("attempts", "workers", "size"):
            yield from problem_with_number(f"{place}: {name}: {option}", options.get(option), 1)
        for option, low in (("poll", 0), ("retry_after", 0.1)):
            yield from problem_with_number(f"{place}: {name}: {option}", options.get(option), low, whole=False)
        if name == "async":
            if options.get("mode") not in (None, "threading"):
                yield f"{place}: the driver 'async' has only the mode 'threading'; use 'database' for processes"
            continue
        yield from problem_with_connection(application, f"{place}: {name}: connection", options.get("connection"))
        zone = options.get("tz")
        try:
            pendulum.timezone(str(zone or "UTC"))
        except Exception:
            yield f"{place}: {name}: tz: invalid value {str(zone)[:80]!r}; expected a time zone such as UTC"


class QueueProvider(Provider):
    """Binds ``queue``, with the drivers of ``config/queue.py``."""

    def problems_at_start(self) -> Iterator[str]:
        queue = self.application.make("queue")
        default = queue.driver_config.get("default")
        known = [name for name in queue.drivers if not isinstance(queue.drivers[name], UnsupportedDriver)]
        if default not in known or default not in queue.driver_config:
            name = name_of_setting("config/queue.py: default", "QUEUE_DRIVER", default)
            yield f"{name}: invalid driver {str(default)[:80]!r}; expected {' or '.join(known)}, with its options"
        elif default == "database" and is_server(self.application):
            if problem := queue.drivers["database"].signer.problem():
                yield problem
            elif configured(self.application, "database.databases") is None and "DB_CONFIG_PATH" not in os.environ:
                yield "config/queue.py: default: the driver 'database' needs config/database.py, and DatabaseProvider"

    def register(self) -> None:
        application, drivers = self.application, read(self.application, "queue.drivers")
        if drivers.get("default") in ("amqp", "redis"):
            stop([_UNSUPPORTED.format(name=drivers["default"])])
        stop(problems_of(application, drivers))
        own = drivers.get("async") or {}
        signer = Signer(application)
        jobs = AsyncJobs(application, int(own.get("workers") or 1), int(own.get("size") or WAITING_JOBS))
        queue = Queue(application).set_configuration(drivers)
        queue.add_driver("async", AsyncDriver(application, jobs))
        queue.add_driver("database", DatabaseDriver(application, signer))
        queue.add_driver("amqp", UnsupportedDriver("amqp"))
        queue.add_driver("redis", UnsupportedDriver("redis"))
        application.bind("queue", queue)
        application.bind("queue.async", jobs)
        application.bind("mock.queue", MockQueue(application))
