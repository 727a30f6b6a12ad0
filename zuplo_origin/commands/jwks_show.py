"""``craft jwks:show``."""

import json

from zuplo_origin.encoding import printable
from zuplo_origin.jwks.fetch import Source
from zuplo_origin.jwks.report import KeySetReport, report

from .base import PlainCommand, has_settings

HEADINGS = ["kid", "kty", "crv or bits", "alg", "use", "usable"]


class JwksShowCommand(PlainCommand):
    """
    Fetch the configured key sets, and say what is usable of them

    jwks:show
        {--json : Print JSON, for scripts}
    """

    def handle(self) -> int:
        if not has_settings(self):
            return 1
        settings = self.app.make("settings")
        surveys = [
            report(Source(one.name, one.jwks_url, settings.jwks.timeout, settings.jwks_max_bytes), one.algorithms)
            for one in settings.issuers
        ]
        if self.option("json"):
            self.line(json.dumps([one.as_dict() for one in surveys], indent=2))
        else:
            for one in surveys:
                self._show(one)
        return 0 if any(one.usable for one in surveys) else 1

    def _show(self, one: KeySetReport) -> None:
        self.line(f"{one.issuer}\n  keys from {one.url}")
        if one.failure:
            self.line(f"  ✗ {one.failure}")
        rows = [
            [printable(value, 48) for value in (entry.kid, entry.kty, entry.size, entry.alg, entry.use)]
            + ["✓" if entry.usable else f"✗ {entry.why}"]
            for entry in one.entries
        ]
        if rows:
            escape = self.io.output.formatter.escape  # a table is markup, what an issuer publishes is none
            self.render_table(HEADINGS, [[escape(cell) for cell in row] for row in rows])
        for advice in one.advice:
            self.line(f"  → {advice}")
