"""Where lines are written by many threads at once."""

import logging
import os
from typing import TextIO


class LineHandler(logging.Handler):
    """Writes each line to ``stream`` at once and in one piece, which needs no lock: of many threads, none waits.

    Nothing is kept back: a process that is killed loses no line. Lines of up to 4 KiB are not mixed with those of other
    processes in a pipe (POSIX, ``PIPE_BUF`` on Linux), nor in a file that is appended to.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._number = stream.fileno()

    def handle(self, record: logging.LogRecord) -> bool:
        """Write ``record`` where the filters let it pass: what the standard library's does, but for its lock."""
        passed: object = self.filter(record)  # since Python 3.12, perhaps another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            while line:
                line = line[os.write(self._number, line) :]
        except Exception:
            self.handleError(record)
