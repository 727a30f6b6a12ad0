"""A log handler whose lines are written by many threads at once."""

import logging
import os
import threading
import time
from collections import deque
from typing import TextIO

BATCH_SECONDS = 0.005
"""The longest time that a line waits for others to be written with."""
WAITING_LINES = 10_000
"""Lines that wait for a reader who does not read; more are dropped, and counted."""


class LineHandler(logging.Handler):
    """Writes lines to ``stream``, each in one piece, without a lock.

    With ``in_batches``, a thread writes them, within ``BATCH_SECONDS``: a system call for each line costs a fifth of
    the throughput, and a stalled reader would stop every request. A process that is killed loses the lines of that
    time. Without, each line is written at once. Lines of up to 4 KiB are not mixed with those of other processes in a
    pipe (POSIX, ``PIPE_BUF`` on Linux), nor in a file that is appended to.
    """

    def __init__(self, stream: TextIO, in_batches: bool = False) -> None:
        super().__init__()
        self._number, self._in_batches = stream.fileno(), in_batches
        self.dropped = 0
        self._reset()
        if in_batches:
            os.register_at_fork(after_in_child=self._reset)  # the thread is the parent's, and so are its lines

    def _reset(self) -> None:
        self._lines: deque[bytes] = deque()
        self._is_writing = self._has_thread = False
        self._wakeup = threading.Semaphore(0)

    def handle(self, record: logging.LogRecord) -> bool:
        """Write ``record`` when the filters let it pass, as the standard library does, but without its lock."""
        passed: object = self.filter(record)  # since Python 3.12, perhaps another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            if not self._in_batches:
                self._write(line)
            elif len(self._lines) < WAITING_LINES:
                self._lines.append(line)
                if not self._is_writing:
                    self._is_writing = True
                    self._wake()
            else:
                self.dropped += 1
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all lines are written, for a second at most."""
        end = time.monotonic() + 1
        while self._in_batches and (self._lines or self._is_writing) and time.monotonic() < end:
            time.sleep(0.001)

    def _wake(self) -> None:
        if not self._has_thread:
            self._has_thread = True
            threading.Thread(target=self._write_batches, name="log", daemon=True).start()
        self._wakeup.release()

    def _write_batches(self) -> None:
        while True:
            self._wakeup.acquire()
            while self._lines:
                batch = [self._lines.popleft() for _ in range(len(self._lines))]
                try:
                    self._write(b"".join(batch))
                except OSError:  # a reader that has gone, a full disk: the lines are lost, the next ones may not be
                    self.dropped += len(batch)
                time.sleep(BATCH_SECONDS)
            self._is_writing = False
            if self._lines:  # one was added since, by a thread that took this one for awake
                self._is_writing = True
                self._wakeup.release()

    def _write(self, text: bytes) -> None:
        while text:
            text = text[os.write(self._number, text) :]
