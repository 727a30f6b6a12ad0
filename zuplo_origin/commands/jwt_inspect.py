"""``craft jwt:inspect``."""

import sys

from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwt.inspection import inspect

from .base import MARKS, PlainCommand, has_settings


class JwtInspectCommand(PlainCommand):
    """
    Walk a token through the rules, and say what each found and expected

    jwt:inspect
        {token : The token, or - to read it from standard input}
    """

    def handle(self) -> int:
        if not has_settings(self):
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
            self.line(told)
        self.line("let in" if passed else "refused")
        return 0 if passed else 1
