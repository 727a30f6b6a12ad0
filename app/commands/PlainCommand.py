"""What craft commands print, and how."""

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
