"""Log formatters, the log handler, and the access log."""

import json
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

import orjson

from zuplo_origin.encoding import printable
from zuplo_origin.http.context import context

from .events import Event, method_of, route_of


class SpelledSecond:
    """Spells times as ``form`` says (``time.strftime``), in the zone of ``zone``, which is one of ``time``'s two."""

    def __init__(self, form: str, zone: Callable[[float], time.struct_time]) -> None:
        self._form, self._zone = form, zone
        self._last = (0, "")  # replaced whole: threads may spell it twice, and never mix it up

    def of(self, created: float) -> str:
        """Return how the second of ``created``, in seconds since the epoch, is spelled."""
        number, spelled = self._last
        if number != int(created):
            number = int(created)
            spelled = time.strftime(self._form, self._zone(number))
            self._last = (number, spelled)
        return spelled


_LEVELS = {number: logging.getLevelName(number).lower() for number in (10, 20, 30, 40, 50)}


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``event`` or ``message``, its
    fields, ``rid`` of the request it belongs to, and ``exception`` with a traceback.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = SpelledSecond("%Y-%m-%dT%H:%M:%S", time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{self._second.of(record.created)}.{int(record.msecs):03d}Z",
            "level": _LEVELS.get(record.levelno) or record.levelname.lower(),
            "logger": record.name,
        }
        if isinstance(record.msg, Event):
            line["event"] = record.msg.name
            line.update(record.msg.fields)
        else:
            line["message"] = record.getMessage()
        line.update(context())
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            encoded = orjson.dumps(line)
            if encoded.isascii():
                return encoded.decode("ascii")
        except TypeError:  # an integer over 64 bits, half a surrogate, an object
            pass
        return json.dumps(line, default=str)


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


def set_up(environment: str, in_batches: bool = False) -> None:
    """Write what is logged to standard error: in ``production`` as JSON, elsewhere for people.

    ``in_batches`` is for servers, which end with ``logging.shutdown``. Does nothing when the process has a log: that of
    a WSGI server, or of a test.
    """
    if logging.getLogger().handlers:
        return
    handler = LineHandler(sys.stderr, in_batches=in_batches)
    handler.setFormatter(JsonFormatter() if environment == "production" else LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


log = logging.getLogger("zuplo_origin.access")


class AccessLog:
    """Tells of a request what was asked for and answered, and why it was not let in.

    The path is not told, the route is: anything may stand in a path, a token too. Of a token there is the id of its
    key, cleaned and cut, and its issuer where that is a known one.
    """

    def __call__(self, request: Any, status: int, seconds: float) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        fields = {
            "method": method_of(request),
            "route": route_of(request),
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if request.streamed is not None:
            fields["bytes"], fields["complete"] = request.streamed
        refused = request.rejected
        if refused is not None:
            fields |= {"reason": refused.reason.value, "issuer": refused.issuer or "-", "kid": printable(refused.kid)}
        log.info(Event("request", **fields))
