"""What the commands share."""

import os
from typing import Any

from cleo.io.outputs.output import Type, Verbosity
from masonite.commands import Command

MARKS = {True: "✓", False: "✗", None: "·"}
"""How a check is told that passed, failed, or could not be tried."""


class PlainCommand(Command):
    """A command that prints text as it stands.

    Cleo reads ``<…>`` as markup, and much of what is printed here was written by somebody else: an origin, an issuer, a
    token. Of theirs, ``<b>`` would vanish and ``<fg=nope>`` would end the command with a traceback.
    """

    def __init__(self, application: Any) -> None:
        super().__init__()
        self.app = application

    def line(self, text: str, style: str | None = None, verbosity: Verbosity = Verbosity.NORMAL) -> None:
        self.io.write_line(text, verbosity, Type.RAW)

    def line_error(self, text: str, style: str | None = None, verbosity: Verbosity = Verbosity.NORMAL) -> None:
        self.io.write_error_line(text, verbosity, Type.RAW)


def has_settings(command: PlainCommand) -> bool:
    """Return whether the application has settings; otherwise print the problems."""
    if command.app.has("settings"):
        return True
    command.line_error(command.app.make("settings.problems"))
    if os.environ.get("APP_ENV") == "local" and not os.environ.get("JWT_ISSUER"):
        command.line_error("\nOr start a development server: python craft serve")
    return False
