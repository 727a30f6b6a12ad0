"""How a line of the log looks."""

import logging
import time


class LineFormatter(logging.Formatter):
    """A line as the standard library writes it by default: ``2026-11-21 10:00:00,123 INFO app.jwt refused reason=…``.

    The second is spelled once, and not for each of the lines that are written in it.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._second = (0, "")  # replaced whole: threads may spell it twice, and never mix it up

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        number, spelled = self._second
        if number != int(record.created):
            number = int(record.created)
            spelled = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(number))
            self._second = (number, spelled)
        return f"{spelled},{int(record.msecs):03d}"
