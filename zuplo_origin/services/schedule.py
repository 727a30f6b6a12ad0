"""The schedule: tasks that ``craft schedule:run`` starts, each in a scope of its own."""

import logging
import shlex
import subprocess
import time
from inspect import isclass
from typing import Any

import pendulum
from masonite.scheduling import CommandTask, Task, TaskHandler

from zuplo_origin.http.kernel import Provider

from .common import own_log_id

log = logging.getLogger("zuplo_origin.schedule")


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


def names_of(task: Any) -> tuple[str, str]:
    """Return the names that ``schedule:run --task`` knows the task by."""
    kind = task if isclass(task) else type(task)
    return str(task.name or kind.__name__), kind.__name__


class Schedule(TaskHandler):
    """Masonite's ``TaskHandler``, bound as ``scheduler``: an exception in a task does not stop the others."""

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

    def register(self) -> None:
        self.application.bind("scheduler", Schedule(self.application))
