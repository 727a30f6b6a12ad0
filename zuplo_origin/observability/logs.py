"""Structured log events, formatters, the log handler, and the access log."""

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TextIO

import orjson

from zuplo_origin.encoding import printable


class Event:
    """A name and its fields, passed to a logger as the message: ``log.info(Event("jwks_rotated", keys=2))``.

    The text is ``jwks_rotated keys=2``. In JSON, the fields are members. ``zuplo_origin.http`` imports nothing of this
    package, and logs the same with the standard library: ``log.info("jwks_rotated", extra={"fields": {"keys": 2}})``.
    """

    __slots__ = ("fields", "name")

    def __init__(self, name: str, /, **fields: Any) -> None:
        self.name = name
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={_quoted(value)}" for name, value in self.fields.items())])


def _quoted(value: Any) -> str:
    try:
        text = str(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if text.split() == [text] else repr(text)


def event_of(record: logging.LogRecord) -> Event | None:
    """Return the event of ``record``; ``None`` if it is a plain message."""
    if isinstance(record.msg, Event):
        return record.msg
    fields = getattr(record, "fields", None)
    is_own = record.name.partition(".")[0] == "zuplo_origin"
    return Event(str(record.msg), **fields) if is_own and isinstance(fields, dict) else None


_MEMBERS = {"time", "level", "logger", "event", "message", "rid", "trace_id", "exception"}
_NOT_OWN = _MEMBERS | set(vars(logging.makeLogRecord({}))) | {"asctime", "taskName"}


def own_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that an application has passed: ``log.info("paid", extra={"invoice_id": 7})``."""
    return {name: value for name, value in vars(record).items() if name not in _NOT_OWN}


def _representable(value: Any) -> Any:
    """Return ``value`` if JSON can represent it, otherwise the name of its type."""
    try:
        json.dumps(value, default=str)
    except Exception:
        return f"<{type(value).__name__}>"
    return value


def _request_ids(record: logging.LogRecord) -> dict[str, str]:
    """Return ``rid`` and ``trace_id`` of the request that ``record`` belongs to, as far as it has them."""
    return {name: value for name in ("rid", "trace_id") if (value := getattr(record, name, None)) is not None}


@lru_cache(maxsize=4)
def _format_second(second: int, form: str, zone: Callable[[float], time.struct_time]) -> str:
    """Return ``second`` (since the epoch) in the format ``form``. Most log lines of a second share the result."""
    return time.strftime(form, zone(second))


_LEVELS = {number: logging.getLevelName(number).lower() for number in (10, 20, 30, 40, 50)}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, in ASCII.

    Members: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``event`` with its fields, or ``message`` with those of
    ``extra``, ``rid`` and ``trace_id`` of the request, and ``exception`` with a traceback. A field that has the name of
    another member is left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        second = _format_second(int(record.created), "%Y-%m-%dT%H:%M:%S", time.gmtime)
        line: dict[str, Any] = {
            "time": f"{second}.{int(record.msecs):03d}Z",
            "level": _LEVELS.get(record.levelno) or record.levelname.lower(),
            "logger": record.name,
        }
        event = event_of(record)
        if event is not None:
            line["event"] = event.name
            line.update(event.fields)
        else:
            line["message"] = record.getMessage()
            line.update(own_fields(record))
        line.update(_request_ids(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            encoded = orjson.dumps(line)
            if encoded.isascii():
                return encoded.decode("ascii")
        except TypeError:  # an integer over 64 bits, a lone surrogate, an object
            pass
        return json.dumps({name: _representable(value) for name, value in line.items()}, default=str)


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LineFormatter(logging.Formatter):
    """Formats a record as the standard library does by default, followed by the ids of the request.

    ``2026-11-21 10:00:00,123 INFO zuplo_origin.access request method=GET … rid=…``. Control characters are escaped, and
    each line of a traceback begins with ``  | ``, so that logged text cannot imitate a log line.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second = _format_second(int(record.created), "%Y-%m-%d %H:%M:%S", time.localtime)
        return f"{second},{int(record.msecs):03d}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        event = event_of(record) or Event(record.message, **own_fields(record))
        record.message = _CONTROL.sub(_escaped, str(event))
        ids = (f"{name}={value}" for name, value in _request_ids(record).items())
        return " ".join([super().formatMessage(record), *ids])

    def formatException(self, ei: object) -> str:
        return "\n".join(f"  | {_CONTROL.sub(_escaped, line)}" for line in super().formatException(ei).split("\n"))  # type: ignore[arg-type]


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


BATCH_SECONDS = 0.005
"""Seconds between two writes: the longest time that a line waits."""
WAITING_LINES, WAITING_BYTES = 10_000, 8 * 1_048_576
"""Lines, and their bytes, that may wait while standard error is not read. More are dropped and counted."""


class LineHandler(logging.Handler):
    """Writes each line to ``stream`` with one system call.

    With ``in_batches``, a thread writes the lines within ``BATCH_SECONDS``: one system call for each request would cost
    a fifth of the throughput, and a reader that stalls would block all requests. A process that is killed loses the
    lines that wait. Lines of up to 4 KiB are not interleaved with those of other processes in a pipe (POSIX,
    ``PIPE_BUF`` on Linux), nor in a file opened for appending.

    Lines that cannot be written are dropped. ``on_drop`` is called with their number; the event ``log_lines_dropped``
    follows when lines can be written again.
    """

    def __init__(self, stream: TextIO, in_batches: bool = False) -> None:
        super().__init__()
        self._number, self._in_batches = stream.fileno(), in_batches
        self.on_drop: Callable[[int], None] = lambda lines: None
        self._reset()
        if in_batches:
            os.register_at_fork(
                after_in_child=self._reset
            )  # a fork does not copy the thread, and its lines belong to the parent

    def _reset(self) -> None:
        self._changes = threading.Lock()  # guards the next two, and is never held during a system call
        self._lines: list[bytes] = []
        self._bytes = self._unreported = 0
        self._is_writing = self._has_thread = False
        self._wakeup = threading.Semaphore(0)

    def handle(self, record: logging.LogRecord) -> bool:
        """Write ``record`` unless a filter drops it, as the standard library does, but without its lock."""
        passed: object = self.filter(record)  # since Python 3.12, a filter may return another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:
            self.handleError(record)
            return
        if self._in_batches:
            self._put(line)
            return
        try:
            self._write(line)
        except OSError:
            self._drop(1)

    def handleError(self, record: logging.LogRecord) -> None:
        """Count a record that cannot be formatted; the standard library's report could block (``sys.stderr``)."""
        if self._in_batches:
            self._drop(1)
        else:
            super().handleError(record)

    def _put(self, line: bytes) -> None:
        with self._changes:
            fits = len(self._lines) < WAITING_LINES and self._bytes + len(line) <= WAITING_BYTES
            if fits:
                self._lines.append(line)
                self._bytes += len(line)
        if not fits:
            self._drop(1)
        elif not self._is_writing:
            self._is_writing = True
            self._wake()

    def _drop(self, lines: int) -> None:
        self._unreported += lines
        self.on_drop(lines)

    def flush(self) -> None:
        """Wait until all lines are written, for one second at most."""
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
                with self._changes:
                    batch, self._lines, self._bytes = self._lines, [], 0
                try:
                    self._write(b"".join(batch))
                    self._report_dropped()
                except OSError:  # a closed pipe or a full disk: these lines are lost, later ones may be written
                    self._drop(len(batch))
                time.sleep(BATCH_SECONDS)
            self._is_writing = False
            if self._lines:  # added by a thread that saw _is_writing before it became False
                self._is_writing = True
                self._wakeup.release()

    def _report_dropped(self) -> None:
        lines, self._unreported = self._unreported, 0
        if lines:
            logging.getLogger("zuplo_origin").warning(Event("log_lines_dropped", lines=lines))

    def _write(self, text: bytes) -> None:
        while text:
            text = text[os.write(self._number, text) :]


def set_up(environment: str, in_batches: bool = False) -> None:
    """Log to standard error: as JSON in ``production``, as text otherwise.

    ``in_batches`` is for servers, which must call ``logging.shutdown`` at the end. Does nothing if the root logger has
    a handler already, from a WSGI server or a test.
    """
    if logging.getLogger().handlers:
        return
    handler = LineHandler(sys.stderr, in_batches=in_batches)
    handler.setFormatter(JsonFormatter() if environment == "production" else LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


log = logging.getLogger("zuplo_origin.access")


class AccessLog:
    """Logs the event ``request``: method, route, status, duration in ms, and why a request was rejected.

    A path is never logged, because it can contain a token. Of a rejected token, the log has the key id, escaped and
    shortened, and the issuer if it is a configured one.
    """

    def __call__(self, request: Any, status: int, seconds: float) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        fields = {
            "method": request.method_label,
            "route": request.route_label,
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if request.streamed is not None:
            fields["bytes"], fields["complete"] = request.streamed
        rejected = request.rejected
        if rejected is not None:
            fields |= {
                "reason": rejected.reason.value,
                "issuer": rejected.issuer or "-",
                "kid": printable(rejected.kid),
            }
        log.info(Event("request", **fields))


def warn_of_open_routes(application: Any) -> None:
    """Log a warning with the routes that are neither guarded nor declared as ``public``, if there are any."""
    routes = application.make("router").open_routes()
    if routes:
        logging.getLogger("zuplo_origin").warning(Event("open_routes", routes=", ".join(routes)))
