"""The base class of this project's craft commands."""

import os
import sys
from contextlib import AbstractContextManager
from typing import Any

from cleo.io.outputs.output import Type, Verbosity
from masonite.commands import Command

from .style import MARK_STYLES, Painter, progress

MARKS = {True: "✓", False: "✗", None: "·"}
"""The mark of a check that passed, that failed, or that was skipped."""


def fail(command: Any, message: object) -> int:
    """Print ``message`` to standard error, after the command's name, and return exit status 1."""
    paint = Painter(command.io.error_output.is_decorated())
    command.io.write_error_line(f"{paint(command.name, 'error')}: {paint(message)}", Verbosity.NORMAL, Type.RAW)
    return 1


class PlainCommand(Command):
    """A command that prints text without cleo's markup.

    Much of what these commands print comes from outside: responses of an origin, keys of an issuer, claims of a token.
    Cleo reads ``<…>`` in it as markup: it removes ``<b>``, and raises an exception for ``<fg=nope>``.
    """

    def __init__(self, application: Any) -> None:
        super().__init__()
        self.app = application

    def line(self, text: str, style: str | None = None, verbosity: Verbosity = Verbosity.NORMAL) -> None:
        self.io.write_line(text, verbosity, Type.RAW)

    def line_error(self, text: str, style: str | None = None, verbosity: Verbosity = Verbosity.NORMAL) -> None:
        self.io.write_error_line(text, verbosity, Type.RAW)

    @property
    def paint(self) -> Painter:
        """A function that paints text for standard output, if it has colours, and escapes control characters."""
        return Painter(self.io.output.is_decorated())

    def mark(self, passed: bool | None) -> str:
        return self.paint(MARKS[passed], MARK_STYLES[passed])

    def progress(self, text: str) -> AbstractContextManager[None]:
        """Show ``text`` in a terminal while the block runs."""
        return progress(sys.stderr, text)

    def fail(self, message: object) -> int:
        return fail(self, message)

    def has_settings(self) -> bool:
        """Return whether the settings are valid, and print the problems if they are not."""
        if self.app.has("settings"):
            return True
        self.line_error(self.app.make("settings.problems"))
        if os.environ.get("APP_ENV") == "local" and not os.environ.get("JWT_ISSUER"):
            self.line_error("\nOr start a development server: python craft serve")
        return False
