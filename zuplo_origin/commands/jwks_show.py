"""``craft jwks:show``."""

import json

from zuplo_origin.encoding import printable
from zuplo_origin.factory import make_source
from zuplo_origin.jwks.report import KeySetReport, report

from .base import PlainCommand

HEADINGS = ["kid", "kty", "crv or bits", "alg", "use", "usable"]


class JwksShowCommand(PlainCommand):
    """
    Fetch the configured key sets, and report which keys are usable

    jwks:show
        {--json : Print JSON}
    """

    def handle(self) -> int:
        if not self.has_settings():
            return 1
        settings = self.app.make("settings")
        reports = [report(make_source(settings, one), one.algorithms) for one in settings.issuers]
        if self.option("json"):
            self.line(json.dumps([one.as_dict() for one in reports], indent=2))
        else:
            for one in reports:
                self._show(one)
        return 0 if any(one.usable for one in reports) else 1

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
            escape = self.io.output.formatter.escape  # cleo reads the cells of a table as markup
            self.render_table(HEADINGS, [[escape(cell) for cell in row] for row in rows])
        for advice in one.advice:
            self.line(f"  → {advice}")
