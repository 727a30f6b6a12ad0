"""``craft jwks:show``."""

import json
from typing import Any

from masonite.commands import Command

from app.encoding.printable import printable
from app.jwks.Source import Source
from app.jwks.survey import Survey, survey

from .development import find_settings

HEADINGS = ["kid", "kty", "crv or bits", "alg", "use", "usable"]


class JwksShowCommand(Command):
    """
    Fetch the configured key sets, and say what is usable of them

    jwks:show
        {--json : Print JSON, for scripts}
    """

    def __init__(self, application: Any) -> None:
        super().__init__()
        self.app = application

    def handle(self) -> int:
        if not find_settings(self, self.app):
            return 1
        settings = self.app.make("settings")
        surveys = [
            survey(Source(one.name, one.jwks_url, settings.jwks.timeout, settings.jwks_max_bytes), one.algorithms)
            for one in settings.issuers
        ]
        if self.option("json"):
            self._write(json.dumps([one.as_dict() for one in surveys], indent=2))
        else:
            for one in surveys:
                self._show(one)
        return 0 if any(one.usable for one in surveys) else 1

    def _show(self, one: Survey) -> None:
        self._write(f"{one.issuer}\n  keys from {one.url}")
        if one.failure:
            self._write(f"  ✗ {one.failure}")
        rows = [
            [printable(value, 48) for value in (entry.kid, entry.kty, entry.size, entry.alg, entry.use)]
            + ["✓" if entry.usable else f"✗ {entry.why}"]
            for entry in one.entries
        ]
        if rows:
            self.render_table(HEADINGS, [[self._plain(cell) for cell in row] for row in rows])
        for advice in one.advice:
            self._write(f"  → {advice}")

    def _write(self, text: str) -> None:
        """Print ``text`` as it stands: what an issuer publishes is no markup."""
        self.io.write_line(self._plain(text))

    def _plain(self, text: str) -> str:
        escaped: str = self.io.output.formatter.escape(text)
        return escaped
