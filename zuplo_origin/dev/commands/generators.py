"""Masonite's generators, with the names and options of its commands, and files that fit this project.

Masonite's own commands add an import to ``__init__.py``, so that one broken controller breaks all of them, and their
files for controllers and tests import views and a test case that do not exist here.
"""

import keyword
import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import masonite
import masoniteorm
from cleo.io.outputs.output import Type, Verbosity
from cryptography.fernet import Fernet
from inflection import camelize, tableize, underscore
from masonite.commands import (
    KeyCommand,
    MakeCommandCommand,
    MakeControllerCommand,
    MakeJobCommand,
    MakeMailableCommand,
    MakeMiddlewareCommand,
    MakePolicyCommand,
    MakeProviderCommand,
    MakeTestCommand,
    TinkerCommand,
)
from masonite.events.commands import MakeEventCommand, MakeListenerCommand
from masonite.helpers.urls import UrlsHelper
from masonite.notification.commands import MakeNotificationCommand
from masonite.scheduling.commands import MakeTaskCommand
from masonite.validation.commands.MakeRuleCommand import MakeRuleCommand
from masonite.validation.commands.MakeRuleEnclosureCommand import MakeRuleEnclosureCommand
from masoniteorm.commands import MakeMigrationCommand, MakeModelCommand, MakeObserverCommand, MakeSeedCommand

from zuplo_origin.commands.base import fail
from zuplo_origin.commands.stock import LOCATIONS, in_project

OWN = Path(__file__).parents[1] / "stubs"
MASONITE = Path(masonite.__file__).parent / "stubs"
ORM = Path(masoniteorm.__file__).parent / "commands" / "stubs"

CLASSES: list[tuple[Any, str, Path, str]] = [
    (MakeCommandCommand, "commands", MASONITE / "commands/Command.py", "Command"),
    (MakeControllerCommand, "controllers", OWN / "Controller.stub", "Controller"),
    (MakeEventCommand, "events", MASONITE / "events/Event.py", ""),
    (MakeJobCommand, "jobs", MASONITE / "jobs/Job.py", ""),
    (MakeListenerCommand, "listeners", MASONITE / "events/Listener.py", ""),
    (MakeMailableCommand, "mailables", OWN / "Mailable.stub", ""),
    (MakeMiddlewareCommand, "middlewares", MASONITE / "middlewares/Middleware.py", "Middleware"),
    (MakeNotificationCommand, "notifications", OWN / "Notification.stub", ""),
    (MakePolicyCommand, "policies", MASONITE / "policies/Policy.py", "Policy"),
    (MakeProviderCommand, "providers", OWN / "Provider.stub", ""),
    (MakeRuleCommand, "validation", MASONITE / "validation/Rule.py", ""),
    (MakeRuleEnclosureCommand, "validation", MASONITE / "validation/RuleEnclosure.py", ""),
    (MakeTaskCommand, "tasks", OWN / "Task.stub", ""),
]
"""Command, name of its location in the container, stub, and the suffix of the class's name."""
VARIANTS = {
    "controller": {"resource": OWN / "ResourceController.stub", "api": OWN / "APIController.stub"},
    "policy": {"model": MASONITE / "policies/ModelPolicy.py"},
}
"""Stubs for options of a command, by the names of command and option."""


class CannotCreate(ValueError):
    """A file that cannot be created. The message gives the reason."""


def generator_commands(application: Any) -> list[Any]:
    folder = {name: application.make(f"{name}.location") for name in LOCATIONS}
    generators: list[tuple[Any, Callable[[Any], None]]] = [
        (command(application), partial(create_class, folder=folder[location], stub=stub, suffix=suffix))
        for command, location, stub, suffix in CLASSES
    ]
    model = MakeModelCommand(
        directory=folder["models"], migrations_directory=folder["migrations"], seeders_directory=folder["seeds"]
    )
    test = MakeTestCommand(application)
    test.definition.option("directory").set_default(folder["tests"])
    generators += [
        (model, create_model),
        (MakeMigrationCommand(directory=folder["migrations"]), create_migration),
        (
            MakeObserverCommand(directory=folder["observers"]),
            partial(create_class, folder=folder["observers"], stub=OWN / "Observer.stub", suffix="Observer"),
        ),
        (MakeSeedCommand(directory=folder["seeds"]), create_seed),
        (test, create_test),
        (KeyCommand(), create_key),
    ]
    for command, create in generators:
        command.handle = partial(_run, command, create)
    commands = [in_project(command, application) for command, _ in generators]
    return [*commands, in_project(TinkerCommand(), application, _bind_url)]


def _bind_url(application: Any, command: Any) -> None:
    """Bind the helper that ``tinker`` offers as ``url``, as Masonite's provider for views does."""
    if not application.has("url"):
        application.bind("url", UrlsHelper(application))


def _run(command: Any, create: Callable[[Any], None]) -> int:
    try:
        create(command)
    except CannotCreate as error:
        return fail(command, error)
    return 0


def create_class(command: Any, folder: str, stub: Path, suffix: str) -> None:
    """Write a class in a file of its own. A name such as ``admin/Users`` stands for a folder and a class."""
    path, name = _parse(command.argument("name"), suffix)
    for option, variant in VARIANTS.get(command.name, {}).items():
        if command.option(option):
            stub = variant
    _write(command, Path(_option(command, "directory") or folder, path), f"{name}.py", _render(stub, name))


def create_model(command: Any) -> None:
    path, name = _parse(command.argument("name"))
    file = f"{underscore(name) if command.option('pep') else name}.py"
    _write(command, Path(command.option("directory"), path), file, _render(OWN / "Model.stub", name))
    if command.option("migration"):
        table, directory = tableize(name), command.option("migrations-directory")
        prefix, option = ("update", "table") if command.option("table") else ("create", "create")
        command.call("migration", f"{prefix}_{table}_table --{option} {table} --directory {directory}")
    if command.option("seeder"):
        command.call("seed", f"{name} --directory {command.option('seeders-directory')}")


def create_migration(command: Any) -> None:
    name, create, table = command.argument("name"), command.option("create"), command.option("table")
    if not re.fullmatch(r"\w+", name, re.ASCII):
        raise CannotCreate(f"invalid name {name!r}; expected one such as create_orders_table")
    if create != "None" or table == "None":
        stub = ORM / "create_migration.stub"
        table = create if create != "None" else tableize(name.replace("create_", "").replace("_table", ""))
    else:
        stub = OWN / "AlterMigration.stub"
    text = _render(stub, camelize(name)).replace("__TABLE_NAME__", table)
    _write(command, Path(command.option("directory")), f"{datetime.now():%Y_%m_%d_%H%M%S}_{name}.py", text)


def create_seed(command: Any) -> None:
    path, name = _parse(command.argument("name"), "TableSeeder")
    text = _render(ORM / "create_seed.stub", name)
    _write(command, Path(command.option("directory"), path), f"{underscore(name)}.py", text)


def create_test(command: Any) -> None:
    path, name = _parse(command.argument("name"), "Test")
    file = f"test_{underscore(name.removesuffix('Test'))}.py"
    _write(command, Path(command.option("directory"), path), file, _render(OWN / "TestCase.stub", name))


def create_key(command: Any) -> None:
    """Set ``APP_KEY`` in ``.env``, or print a key with ``--dont-store``."""
    key = Fernet.generate_key().decode()
    if command.option("dont-store"):
        _print(command, f"APP_KEY={key}")
        return
    file = Path(".env")
    if not file.exists():
        raise CannotCreate("there is no .env; copy .env-example to it, or use --dont-store")
    text, count = re.subn(r"(?m)^(# *)?APP_KEY=.*$", f"APP_KEY={key}", file.read_text(encoding="utf-8"), count=1)
    file.write_text(text if count else f"{text.rstrip()}\nAPP_KEY={key}\n".lstrip(), encoding="utf-8")
    _print(command, "updated .env: APP_KEY")


def _parse(argument: str, suffix: str = "") -> tuple[str, str]:
    """Return the folder and the class's name, with ``suffix``, for the argument of a command."""
    path, _, name = argument.rpartition("/")
    name = camelize(name.replace("-", "_"))
    name = name if name.endswith(suffix) else name + suffix
    for part in (*filter(None, path.split("/")), name):
        if not part.isascii() or not part.isidentifier() or keyword.iskeyword(part):
            raise CannotCreate(f"invalid name {argument!r}; expected one such as Orders or admin/Orders")
    return path, name


def _render(stub: Path, name: str) -> str:
    text = stub.read_text(encoding="utf-8")
    return re.sub("__(class|CLASS|SEEDER_NAME|MIGRATION_NAME)__", name, text)


def _write(command: Any, folder: Path, file: str, text: str) -> None:
    """Write a file, and ``__init__.py`` in each new folder. An existing file is overwritten with ``--force`` only."""
    target = folder / file
    if target.exists() and not _option(command, "force"):
        raise CannotCreate(f"{target} exists already")
    for package in reversed([folder, *folder.parents]):
        if not package.exists():
            package.mkdir()
            (package / "__init__.py").touch()
    target.write_text(text, encoding="utf-8")
    _print(command, f"created {target}")


def _option(command: Any, name: str) -> Any:
    return command.option(name) if command.definition.has_option(name) else None


def _print(command: Any, text: str) -> None:
    command.io.write_line(text, Verbosity.NORMAL, Type.RAW)
