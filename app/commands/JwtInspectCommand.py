"""``craft jwt:inspect``."""

import sys
from typing import Any

from masonite.commands import Command

from app.jwks.KeysUnavailable import KeysUnavailable
from app.jwt.inspection import inspect

from .development import find_settings

MARKS = {True: "✓", False: "✗", None: "·"}


class JwtInspectCommand(Command):
    """
    Walk a token through the rules, and say what each found and expected

    jwt:inspect
        {token : The token, or - to read it from standard input}
    """

    def __init__(self, application: Any) -> None:
        super().__init__()
        self.app = application

    def handle(self) -> int:
        if not find_settings(self, self.app):
            return 1
        argument = self.argument("token")
        text = (sys.stdin.read() if argument == "-" else argument).strip()
        candidate = self.app.make("guard").verifier.candidate(text.removeprefix("Bearer "))
        passed = True
        for finding in inspect(candidate, KeysUnavailable):
            passed = passed and finding.passed is True
            told = f"{MARKS[finding.passed]} {finding.rule:<16} {finding.found}"
            if finding.reason is not None:
                told += f"\n  {finding.reason.value}; expected: {finding.expected}"
            self._write(told)
        self._write("let in" if passed else "refused")
        return 0 if passed else 1

    def _write(self, text: str) -> None:
        """Print ``text`` as it stands: what a token holds is no markup."""
        self.io.write_line(self.io.output.formatter.escape(text))
