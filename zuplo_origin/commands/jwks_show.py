"""``craft jwks:show``."""

import json
import time

from zuplo_origin.encoding import printable
from zuplo_origin.factory import make_shared_keys, make_source
from zuplo_origin.jwks.report import KeySetReport, report
from zuplo_origin.jwks.shared import SharedState
from zuplo_origin.jwks.stores import StoreDown
from zuplo_origin.settings import Settings

from .base import MARKS, PlainCommand
from .style import visible

HEADINGS = ["kid", "kty", "crv or bits", "alg", "use", "usable", "first seen"]
USABLE = HEADINGS.index("usable")


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
        shared = self._shared(settings)
        reports = []
        for one in settings.issuers:
            with self.progress(f"fetching the keys of {one.name}"):
                reports.append(report(make_source(settings, one), one.algorithms, shared.get(one.name)))
        if self.option("json"):
            self.line(json.dumps([each.as_dict() for each in reports], indent=2))
        else:
            for each in reports:
                self._show(each, settings)
        return 0 if any(each.usable for each in reports) else 1

    def _shared(self, settings: Settings) -> dict[str, SharedState]:
        """Return the times of the key sets that running processes share, by issuer."""
        try:
            keys = make_shared_keys(settings, self.app.get_storage_path())
            return {name: state for name, each in keys.items() if (state := each.state()) is not None}
        except StoreDown:
            self.line_error("JWKS_STORE cannot be read: the times of the running processes are not known")
            return {}

    def _show(self, one: KeySetReport, settings: Settings) -> None:
        self.line(f"{self.paint(one.issuer, 'bold')}\n  keys from {self.paint(one.url)}")
        if one.failure:
            self.line(f"  {self.mark(False)} {self.paint(one.failure)}")
        else:
            given = "no max-age in the headers" if one.max_age is None else f"max-age {one.max_age} s in the headers"
            self.line(
                f"  fresh for {settings.jwks.fresh_for(one.max_age):g} s ({given}; JWKS_TTL={settings.jwks.ttl:g})"
            )
        now = time.time()
        if one.fetched_at is not None and one.refresh_due is not None:
            due = f"in {_duration(one.refresh_due - now)}" if one.refresh_due > now else "now"
            self.line(f"  running processes: fetched {_duration(now - one.fetched_at)} ago, next refresh due {due}")
        elif settings.jwks_store == "memory":
            self.line("  running processes: not known, because they do not share their key sets (JWKS_STORE)")
        else:
            self.line("  running processes: none has fetched this key set lately")
        rows = [
            [printable(value, 48) for value in (entry.kid, entry.kty, entry.size, entry.alg, entry.use)]
            + [MARKS[True] if entry.usable else f"{MARKS[False]} {visible(str(entry.why))}"]
            + [f"{_duration(now - entry.first_seen)} ago" if entry.first_seen is not None else "-"]
            for entry in one.entries
        ]
        if rows:
            escape = self.io.output.formatter.escape  # cleo reads the cells of a table as markup
            colours = ["green" if entry.usable else "red" for entry in one.entries]
            cells = [[escape(cell) for cell in row] for row in rows]
            for row, colour in zip(cells, colours, strict=True):
                row[USABLE] = f"<fg={colour}>{row[USABLE]}</>"
            self.render_table(HEADINGS, cells)
        for advice in one.advice:
            self.line(f"  → {self.paint(advice, 'yellow')}")


def _duration(seconds: float) -> str:
    """Return ``seconds`` in the largest unit of which there are two or more."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
