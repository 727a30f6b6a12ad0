"""``craft jwt:inspect``."""

import sys

from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwt.inspection import inspect

from .base import MARKS, PlainCommand


class JwtInspectCommand(PlainCommand):
    """
    Evaluate each rule over a token, and print what it found and expected

    jwt:inspect
        {token : The token, or - to read it from standard input}
    """

    def handle(self) -> int:
        if not self.has_settings():
            return 1
        argument = self.argument("token")
        text = (sys.stdin.read() if argument == "-" else argument).strip()
        candidate = self.app.make("guard").verifier.candidate(text.removeprefix("Bearer "))
        accepted = True
        for finding in inspect(candidate, KeysUnavailable):
            accepted = accepted and finding.passed is True
            self.line(f"{MARKS[finding.passed]} {finding.rule:<16} {finding.found}")
            if finding.reason is not None:
                self.line(f"  {finding.reason.value}; expected: {finding.expected}")
        self.line("accepted" if accepted else "rejected")
        return 0 if accepted else 1
