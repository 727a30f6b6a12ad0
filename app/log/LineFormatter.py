"""Lines for people."""

import logging
import re
import time

from .request_context import context
from .SpelledSecond import SpelledSecond

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LineFormatter(logging.Formatter):
    """A line as the standard library writes it by default, and the request it belongs to.

    ``2026-11-21 10:00:00,123 INFO app.access request method=GET … rid=…``. Nothing that was logged begins a line of its
    own: control characters are spelled out, and a traceback stands behind bars.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._second = SpelledSecond("%Y-%m-%d %H:%M:%S", time.localtime)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return f"{self._second.of(record.created)},{int(record.msecs):03d}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _CONTROL.sub(_spelled, record.message)
        return " ".join([super().formatMessage(record), *(f"{name}={value}" for name, value in context().items())])

    def formatException(self, ei: object) -> str:
        return "\n".join(f"  | {_CONTROL.sub(_spelled, line)}" for line in super().formatException(ei).split("\n"))  # type: ignore[arg-type]


def _spelled(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
