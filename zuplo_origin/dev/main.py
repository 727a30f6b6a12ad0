"""The commands of ``python -m zuplo_origin``. They load no application, and import no Masonite."""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence

from zuplo_origin import __version__

from . import template
from .new import DATABASES, NotCreated, create


def main(arguments: Sequence[str]) -> int:
    """Run a command, and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a path may be no UTF-8
    parser = argparse.ArgumentParser(prog="python -m zuplo_origin", description=__doc__.splitlines()[0])
    parser.description = "Create an application, or examine one."
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="create an application in a new or empty folder", allow_abbrev=False)
    new.add_argument("folder", metavar="DIR", help="the folder of the application")
    new.add_argument("--name", help="the name of the API; the default is the folder's")
    new.add_argument("--database", choices=DATABASES, default=DATABASES[0], help="the default is %(default)s")
    doctor = commands.add_parser("doctor", help="name what an upgrade needs to change", allow_abbrev=False)
    doctor.add_argument("folder", metavar="DIR", nargs="?", default=".", help="the default is this folder")
    given = parser.parse_args(arguments)
    if given.command == "doctor":
        from .doctor import examine

        return examine(given.folder)
    return _new(given)


def _new(given: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was written is removed
    try:
        wheel = create(given.folder, given.name, given.database)
    except NotCreated as error:
        print(f"new: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("new: interrupted; nothing was written", file=sys.stderr)
        return 130
    print(f"created {given.folder}\n")
    if given.folder != ".":
        print(f"    cd {shlex.quote(given.folder)}")
    print("    pip install -r requirements-dev.txt\n    python craft serve\n    python -m pytest\n")
    if wheel is None:
        print(
            f"wheels/ is empty: unless your package index has zuplo-origin {__version__}, copy its wheel there first."
        )
    if (template.root() / ".git").exists():
        print("The template is this clone: what you have changed in app/, config/, routes/ and tests/ was copied too.")
    return 0
