"""Masonite's stock commands for databases, queues and tasks: a deployment needs them.

They run in the project's folder, whatever the current one is. If the project lacks the configuration that a command
needs, the command exits with status 1 and one line that says what to add.

The generators are in ``zuplo_origin.dev.commands.generators``, for development only. These commands of Masonite are
left out:

=================================  =================================================================================
``serve``                          this project has its own
``auth``, ``preset``, ``view``,    they create HTML pages, sessions and log-in forms, which this origin does not serve
``api:install``
``install``, ``project``, ``new``  they start a new project
``package:publish``                it copies views and assets of packages
``down``, ``up``                   no server here reads ``.down``: stop requests at the gateway
``db:shell``, ``model:docstring``  they need the database's own client, or only print text to copy
=================================  =================================================================================
"""

import os
import pydoc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import masonite
from cleo.io.outputs.output import Type, Verbosity
from cleo.ui.table import Table
from masonite.commands import QueueFailedCommand, QueueRetryCommand, QueueTableCommand, QueueWorkCommand
from masonite.notification.commands import NotificationTableCommand
from masonite.scheduling.commands import ScheduleRunCommand
from masonite.utils.time import migration_timestamp
from masoniteorm.commands import (
    MigrateCommand,
    MigrateFreshCommand,
    MigrateRefreshCommand,
    MigrateResetCommand,
    MigrateRollbackCommand,
    MigrateStatusCommand,
    SeedRunCommand,
)

from .base import fail
from .routes_list import RouteListCommand

LOCATIONS = {
    "commands": "app/commands",
    "controllers": "app/controllers",
    "events": "app/events",
    "jobs": "app/jobs",
    "listeners": "app/listeners",
    "mailables": "app/mailables",
    "middlewares": "app/middlewares",
    "migrations": "databases/migrations",
    "models": "app/models",
    "notifications": "app/notifications",
    "observers": "app/models/observers",
    "policies": "app/policies",
    "providers": "app/providers",
    "seeds": "databases/seeds",
    "tasks": "app/tasks",
    "tests": "tests",
    "validation": "app/validation",
}
"""Folders of Masonite's skeleton, bound as ``<name>.location`` unless the application has bound others."""

Requirement = Callable[[Any, Any], str | None]
"""A function of application and command that returns what the project lacks, in one sentence, or ``None``."""


def bind_locations(application: Any) -> None:
    for name, folder in LOCATIONS.items():
        if not application.has(f"{name}.location"):
            application.bind(f"{name}.location", folder)


def deployment_commands(application: Any) -> list[Any]:
    migrations, seeds = application.make("migrations.location"), application.make("seeds.location")
    database: list[Any] = [
        MigrateCommand(directory=migrations),
        MigrateFreshCommand(directory=migrations, seed_directory=seeds),
        MigrateRefreshCommand(directory=migrations, seed_directory=seeds),
        MigrateResetCommand(directory=migrations),
        MigrateRollbackCommand(directory=migrations),
        MigrateStatusCommand(directory=migrations),
    ]
    for command in database:
        command.table = partial(_OldTable, command)
    queue = [WorkCommand(application), RetryCommand(application)]
    return [
        RouteListCommand(application),
        *(in_project(command, application, lacks_database) for command in database),
        in_project(SeedRunCommand(directory=seeds), application, lacks_seeder),
        in_project(creating(QueueTableCommand(), "create_queue_jobs_table"), application),
        in_project(creating(QueueFailedCommand(), "create_failed_jobs_table"), application),
        in_project(TableCommand(), application),
        *(in_project(command, application, lacks_queue) for command in queue),
        in_project(ScheduleRunCommand(application), application, lacks_scheduler),
    ]


class WorkCommand(QueueWorkCommand):
    """
    Runs the jobs of a queue until TERM or INT, which let the job that runs end

    queue:work
        {--c|connection=? : The database connection of the driver database}
        {--queue=? : The queue to take jobs from}
        {--d|driver=? : The driver}
        {--p|poll=? : Seconds between two look-ups while there is no job}
        {--attempts=? : How often a job is tried before it is a failed one}
    """

    def handle(self) -> int:
        from masonite.exceptions import QueueException

        options = {name: self.option(name) for name in ("connection", "queue", "driver", "poll", "attempts")}
        try:
            self.app.make("queue").consume(options)
        except (QueueException, ValueError) as error:
            return fail(self, error)
        return 0


class RetryCommand(QueueRetryCommand):
    """
    Puts the failed jobs of a queue back onto it

    queue:retry
        {--c|connection=? : The database connection of the driver database}
        {--queue=? : The queue}
        {--d|driver=? : The driver}
    """

    def handle(self) -> int:
        from masonite.exceptions import QueueException

        options = {name: self.option(name) for name in ("connection", "queue", "driver")}
        try:
            self.app.make("queue").retry(options)
        except QueueException as error:
            return fail(self, error)
        return 0


class TableCommand(NotificationTableCommand):
    """
    Creates a migration for the table of notifications

    notification:table
        {--d|--directory=databases/migrations : The folder of the migration}
    """

    def handle(self) -> int:
        return write_migration(self, "create_notifications_table", NOTIFICATIONS)


def creating(command: Any, name: str) -> Any:
    """Return ``command`` with a ``handle`` that prints the file's path as the generators do."""
    stub = Path(masonite.__file__).parent / "stubs" / "queue" / f"{name}.py"
    command.handle = lambda: write_migration(command, name, stub.read_text(encoding="utf-8"))
    return command


def write_migration(command: Any, name: str, text: str) -> int:
    file = Path(command.option("directory")) / f"{migration_timestamp()}_{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    command.io.write_line(f"created {file}", Verbosity.NORMAL, Type.RAW)
    return 0


NOTIFICATIONS = '''from masoniteorm.migrations import Migration


class CreateNotificationsTable(Migration):
    def up(self):
        """Run the migrations."""
        with self.schema.create("notifications") as table:
            table.string("id", 36).primary()
            table.string("type")
            table.text("data")
            table.morphs("notifiable")
            table.datetime("read_at").nullable()
            table.timestamps()

    def down(self):
        """Revert the migrations."""
        self.schema.drop("notifications")
'''
"""Masonite's own migration has an integer as ``id``, but the notifications are stored with UUIDs."""


def in_project(command: Any, application: Any, requirement: Requirement | None = None) -> Any:
    """Return ``command`` with a ``handle`` that checks ``requirement``, and runs in the project's folder."""
    handle = command.handle

    def run() -> int:
        folder = os.getcwd()
        os.chdir(application.base_path)
        try:
            lack = requirement(application, command) if requirement else None
            return fail(command, lack) if lack else handle() or 0
        except EOFError:  # migrate asks for confirmation in production
            return fail(command, "it needs a terminal for its question; use --force to run without it")
        except OSError as error:
            return fail(command, error)
        finally:
            os.chdir(folder)

    command.handle = run
    command.call = partial(_call, command.call)
    return command


def _call(call: Callable[[str, str], int], name: str, arguments: str) -> int:
    """Call another command. Cleo 2 takes the first argument for the command's name, and Masonite leaves it out."""
    return call(name, f"{name} {arguments}")


class _OldTable:
    """The table of cleo 0.8 that masonite-framework-orm 3.1.0 uses in ``migrate:status`` and ``--show``."""

    def __init__(self, command: Any) -> None:
        self._table = Table(command.io)

    def set_header_row(self, row: list[str]) -> None:
        self._table.set_headers(row)

    def set_rows(self, rows: list[list[str]]) -> None:
        self._table.set_rows(rows)

    def render(self, io: Any) -> None:
        self._table.render()


def lacks_database(application: Any, command: Any) -> str | None:
    from masoniteorm.config import load_config
    from masoniteorm.exceptions import ConfigurationNotFound

    try:
        configuration = load_config(command.option("config"))
    except ConfigurationNotFound:
        configuration = None
    if hasattr(configuration, "DB"):
        return None
    file = os.environ["DB_CONFIG_PATH"].removesuffix(".py").replace(".", "/")
    return f"no database is configured; add {file}.py with DATABASES and DB"


def lacks_seeder(application: Any, command: Any) -> str | None:
    if lack := lacks_database(application, command):
        return lack
    from inflection import camelize, underscore

    table, folder = command.argument("table"), command.option("directory")
    module, name = ("database_seeder", "DatabaseSeeder")
    if table != "None":
        module, name = f"{underscore(table)}_table_seeder", f"{camelize(table)}TableSeeder"
    if pydoc.locate(f"{folder.replace('/', '.')}.{module}.{name}") is None:
        return f"there is no seeder; add {folder}/{module}.py with a class {name}"
    return None


def lacks_queue(application: Any, command: Any) -> str | None:
    if application.has("queue"):
        return None
    return "no queue is configured; add config/queue.py, and zuplo_origin.services.QueueProvider to config/providers.py"


def lacks_scheduler(application: Any, command: Any) -> str | None:
    if application.has("scheduler"):
        return None
    return "no tasks are configured; add zuplo_origin.services.ScheduleProvider to config/providers.py"
