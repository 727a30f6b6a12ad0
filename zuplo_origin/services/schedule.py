"""The schedule: tasks that ``craft schedule:run`` starts, each in a scope of its own.

Several machines may run it: a task with ``on_one_server()`` is run by one of them each time that it is due.
"""

import logging
import random
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from hashlib import sha256
from inspect import isclass
from typing import Any

import pendulum
from masonite.scheduling import CommandTask, Task, TaskHandler

from zuplo_origin.http.kernel import Provider

from .common import own_log_id

log = logging.getLogger("zuplo_origin.schedule")

_TIME = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))?")

TABLE = "schedule_runs"
KEPT_SECONDS = 24 * 3600
"""Time that it is known which machine has run a task: longer than clocks of machines differ."""


def _on_one_server(self: Any) -> Any:
    """Let one machine run the task each time that it is due, although several run the schedule."""
    self.one_server = True
    return self


Task.one_server = False
Task.on_one_server = _on_one_server  # Laravel's name; Masonite has none


class CommandFailed(Exception):
    """The command of a task ended with another status than 0."""


def is_due(task: Any, now: Any) -> bool:
    """Return whether ``task`` is due in the minute ``now``, in the task's ``timezone`` if it has one.

    Masonite's own ``should_run`` never runs weekly tasks, ignores ``daily_at(17)``, and runs commands every minute.
    """
    if getattr(task, "timezone", None):
        now = now.in_timezone(task.timezone)
    if task.twice_daily:
        return any(_is_at(now, hour) for hour in task.twice_daily)
    if task.run_every:
        return _is_period(str(task.run_every), task.run_at, now)
    if task.run_at:
        return _is_at(now, task.run_at)
    if task.run_weekly:
        return _is_period("1 week", None, now)
    if task.run_every_hour:
        return bool(now.minute == 0)
    return bool(task.run_every_minute)


def _is_at(now: Any, time_of_day: Any) -> bool:
    """Return whether ``now`` is the minute ``time_of_day``: ``17``, ``"17:30"`` or ``"8:05"``."""
    hour, _, minute = str(time_of_day).partition(":")
    return bool((now.hour, now.minute) == (int(hour), int(minute or 0)))


def _is_period(period: str, run_at: Any, now: Any) -> bool:
    """Return whether a period such as ``15 minutes`` begins in the minute ``now``.

    Periods of days and more begin at midnight, or at ``run_at``; weeks on Sunday, months on their first day.
    """
    number, _, unit = period.partition(" ")
    length, unit = max(1, int(number)), unit.removesuffix("s")
    if unit == "minute":
        return bool(now.minute % length == 0)
    if unit == "hour":
        return bool(now.hour % length == 0 and now.minute == 0)
    if not _is_at(now, run_at or 0):
        return False
    if unit == "day":
        return bool(now.day_of_year % length == 0)
    if unit == "week":
        return bool(now.isoweekday() == 7 and now.week_of_year % length == 0)
    if unit == "month":
        return bool(now.day == 1 and now.month % length == 0)
    raise ValueError(f"{period!r} is not a period such as '15 minutes', '2 hours', '1 day', '1 week' or '1 month'")


def problem_with_times(task: Any) -> str | None:
    """Return what is wrong with the times of ``task``, which would never be due; ``None`` if they are times."""
    for at in (task.run_at, *(task.twice_daily or ())):
        found = _TIME.fullmatch(str(at)) if at not in (False, None) else None
        if at not in (False, None) and (found is None or int(found[1]) > 23 or int(found[2] or 0) > 59):
            return f"invalid time {at!r}; expected an hour or a time of day, as in 17 or '17:30'"
    try:
        _is_period(str(task.run_every or "1 day"), None, pendulum.datetime(2026, 1, 1))
    except ValueError:
        return f"invalid period {task.run_every!r}; expected one such as '15 minutes', '2 hours' or '1 week'"
    zone = getattr(task, "timezone", None)
    try:
        pendulum.timezone(zone or "UTC")
    except Exception:
        return f"invalid timezone {zone!r}; expected a name such as 'Europe/Berlin'"
    return None


def names_of(task: Any) -> tuple[str, str]:
    """Return the names that ``schedule:run --task`` knows the task by."""
    kind = task if isclass(task) else type(task)
    return str(task.name or kind.__name__), kind.__name__


def _identity(task: Any) -> str:
    """Return what no other task of the schedule has: its name or command, and its times."""
    name = task.name or getattr(task, "command", "") or names_of(task)[0]
    times = ("run_every", "run_at", "run_every_hour", "run_every_minute", "twice_daily", "run_weekly", "timezone")
    return f"{name} {[getattr(task, each, None) for each in times]!r}"


def _claim(application: Any, task: Any, now: Any) -> bool:
    """Return whether this machine is the first one that runs ``task`` in the minute ``now``.

    The claim is a row, or an entry of the cache, that only one process can create. It is never removed by a process
    that ends, or dies: it is for this minute alone.
    """
    minute = int(now.timestamp()) // 60 * 60
    name, (store, local) = names_of(task)[0], _store_of(application)
    if local and application.make("config").get("application.env") == "production":
        log.warning("task_lock_is_local", extra={"fields": {"task": name, "store": local}})
    id = sha256(f"{minute} {_identity(task)}".encode()).hexdigest()
    return bool(store.claim({"id": id, "task": name[:190], "due_at": minute, "host": socket.gethostname()}))


def _store_of(application: Any) -> tuple[Any, str | None]:
    """Return where claims are kept: a database server, Redis, or else files of this machine, with their driver."""
    database = application.make("database") if application.has("database") else None
    cache = application.make("cache").store() if application.has("cache") else None
    details = database.get_connection_details() if database is not None else {}
    if database is not None and details[details["default"]].get("driver") != "sqlite":
        return _Table(database), None
    if cache is not None and type(cache).__name__ != "FileStore":
        return _Cached(cache), None
    if database is None and cache is None:
        raise RuntimeError("on_one_server needs DatabaseProvider or CacheProvider in config/providers.py")
    return (_Cached(cache), "file") if database is None else (_Table(database), "sqlite")


class _Table:
    """Claims in the table ``schedule_runs`` of the default connection."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def claim(self, row: dict[str, Any]) -> bool:
        from .connections import UniqueViolation

        def rows() -> Any:
            return self._database.get_query_builder().table(TABLE)

        if random.random() < 0.01:  # noqa: S311
            rows().where("due_at", "<", row["due_at"] - KEPT_SECONDS).delete()
        try:
            rows().create(row)
        except UniqueViolation:
            return False
        return True


class _Cached:
    """Claims in the default store of the cache."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def claim(self, row: dict[str, Any]) -> bool:
        from .cache import MISSING, encode

        return self._store.write_if_missing(f"schedule:{row['id']}", encode(row["host"]), KEPT_SECONDS) is MISSING


class Schedule(TaskHandler):
    """Masonite's ``TaskHandler``, bound as ``scheduler``: an exception in a task does not stop the others."""

    def add(self, *tasks: Any) -> None:
        """Add tasks, or classes of tasks. Raises ``TypeError`` for anything else, which would stop every run."""
        for task in tasks:
            if not issubclass(task if isclass(task) else type(task), Task):
                raise TypeError(f"{task!r} is not a task; expected a Task, as in Report().daily(), or its class")
        super().add(*tasks)

    def run(self, run_name: str | None = None, force: bool = False, now: Any = None) -> int:
        """Run the tasks that are due, or all with ``force``; with ``run_name``, only those of this name.

        Return 0; 1 if a task failed, or if no task has the name ``run_name``.
        """
        tasks = [task for task in self.tasks if not run_name or run_name in names_of(task)]
        if run_name and not tasks:
            known = ", ".join(dict.fromkeys(names_of(task)[0] for task in self.tasks)) or "none"
            log.error("task_unknown", extra={"fields": {"task": run_name, "known": known}})
            return 1
        moment = now or pendulum.now()
        return max([self._run_if_due(task, moment, force) for task in tasks], default=0)

    def _run_if_due(self, task: Any, now: Any, force: bool) -> int:
        began, fields = time.monotonic(), {"task": names_of(task)[0]}
        with own_log_id():
            try:
                with self.application.scope():
                    made = self.application.resolve(task) if isclass(task) else task
                    if not (force or self._is_due(made, now)):
                        return 0
                    if getattr(made, "one_server", False) and not force and not _claim(self.application, made, now):
                        log.info("task_runs_elsewhere", extra={"fields": fields})
                        return 0
                    self._handle(made)
            except (Exception, SystemExit):
                log.exception("task_failed", extra={"fields": fields})
                return 1
            log.info("task_done", extra={"fields": {**fields, "ms": round((time.monotonic() - began) * 1000, 2)}})
            return 0

    def _is_due(self, task: Any, now: Any) -> bool:
        if type(task).should_run is not Task.should_run:
            return bool(task.should_run())
        if isinstance(task, CommandTask) and (task.run_every or task.run_at or task.twice_daily):
            return is_due(_WithoutDefault(task), now)
        return is_due(task, now)

    def _handle(self, task: Any) -> None:
        if isinstance(task, CommandTask) and type(task).handle is CommandTask.handle:
            command = shlex.split(task.command)
            status = subprocess.run(command, cwd=self.application.base_path).returncode  # noqa: S603
            if status:
                raise CommandFailed(f"{task.command!r} ended with status {status}")
        else:
            task.handle()


class _WithoutDefault:
    """A command's task whose time is set: it does not also run every minute."""

    run_every_minute = False

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)


class ScheduleProvider(Provider):
    """Binds ``scheduler``. Name it above the providers that add tasks: ``make("scheduler").add(Task().daily())``."""

    def problems_at_start(self) -> Iterator[str]:
        """Yield a sentence for each task that would never be due, and whose claim could not be kept or is another's."""
        known = set()
        for task in self.application.make("scheduler").tasks:
            problem = problem_with_times(task)
            if problem is not None:
                yield f"task {names_of(task)[0]}: {problem}."
            if not getattr(task, "one_server", False):
                continue
            name = names_of(task)[0]
            if not self.application.has("database") and not self.application.has("cache"):
                yield f"task {name}: on_one_server needs DatabaseProvider or CacheProvider in config/providers.py."
            identity = _identity(task)
            if identity in known:
                yield f"task {name}: another task on one server has this name and these times; set its name."
            known.add(identity)

    def register(self) -> None:
        self.application.bind("scheduler", Schedule(self.application))
