"""The base class of this project's craft commands."""

import os
from typing import Any

from cleo.io.outputs.output import Type, Verbosity
from masonite.commands import Command

MARKS = {True: "✓", False: "✗", None: "·"}
"""The mark of a check that passed, that failed, or that was skipped."""


def fail(command: Any, message: object) -> int:
    """Print ``message`` to standard error, after the command's name, and return exit status 1."""
    command.io.write_error_line(f"{command.name}: {message}", Verbosity.NORMAL, Type.RAW)
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
