"""The last requests that a development server responded to, for the console: bounded, and in memory only."""

import json
import linecache
import logging
import re
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zuplo_origin.http.errors import described
from zuplo_origin.http.requests import REQUEST_ID, environ_key
from zuplo_origin.observability.logs import LineFormatter
from zuplo_origin.settings import SETTINGS, raw_value

HISTORY = "development.history"
"""The key in the container."""
MOST, MOST_BYTES = 200, 4 * 1_048_576
"""Requests, and their bytes as JSON, that are kept."""
MOST_LINES, LONGEST = 100, 2_000
"""Log lines and SQL statements of a request, and characters of each, that are kept."""
MOST_OPEN = 256
"""Requests in progress whose log lines are kept."""
AROUND = 3
"""Lines of source above and below the line of a frame."""
OWN_PATHS = ("/console/", "/favicon.ico")
MASK = "•••"
_TOKEN = re.compile(r"(eyJ[\w-]*\.[\w-]*)\.[\w-]+")
"""A token (RFC 7515, section 7.1). Its last segment is the signature."""
_URL_PASSWORD = re.compile(r"(?<=://)(?:[^\s/@]*:[^\s@]*|[^\s/@]+)(?=@)")
_NAMED_SECRET = re.compile(
    r"(?i)\b((?:[\w-]*(?:authorization|cookie|password|secret|token|api[-_]?key))[\"']?\s*[=:]\s*[\"']?)"
    r"((?:bearer|basic)\s+)?[^\s\"',;}&]+"
)
_SQL_TEXT = re.compile(r"'(?:[^']|'')*'")


def mask(text: str, secrets: tuple[str, ...] = (), named: bool = True) -> str:
    """Return ``text`` without ``secrets``, signatures of tokens and passwords in URLs.

    With ``named``, the values of names such as ``password`` are masked too: in source code they are expressions.
    """
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = _URL_PASSWORD.sub(MASK, _TOKEN.sub(rf"\1.{MASK}", text))
    return _NAMED_SECRET.sub(rf"\1\2{MASK}", text) if named else text


class History(logging.Handler):
    """An observer of requests and a handler of log records. ``entries`` returns the requests, the last one first.

    An entry has no body and no header of its request. ``craft serve`` responds in one process: this list is whole.
    """

    def __init__(self, application: Any, secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._base = Path(application.base_path)
        config = application.make("config")
        values = (raw_value(config, name) for name, setting in SETTINGS.items() if setting.secret)
        self._secrets = (*secrets, *(str(value) for value in values if len(str(value or "")) >= 8))
        self._header = environ_key(application.make("settings").header)
        self._changes = threading.Lock()  # guards all below
        self._open: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._entries: deque[tuple[int, dict[str, Any]]] = deque()
        self._bytes = 0
        self.setFormatter(LineFormatter())

    def install(self, application: Any) -> None:
        application.make("observers").append(self)
        logging.getLogger().addHandler(self)
        base = sys.modules.get("masoniteorm.connections.BaseConnection")
        if base is not None:
            _time_statements(base.BaseConnection, self)

    def entries(self) -> list[dict[str, Any]]:
        with self._changes:
            return [entry for _, entry in reversed(self._entries)]

    def emit(self, record: logging.LogRecord) -> None:
        rid = getattr(record, "rid", None)
        if rid is None or record.name == "zuplo_origin.access":  # the entry has what the access log has
            return
        try:
            error = record.exc_info[1] if record.exc_info else None
            exception = self._described(error) if error is not None else None
            plain = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None, "rid": None})
            line = self.format(plain)[:LONGEST]
        except Exception:
            return  # the handler of the log reports a record that cannot be formatted
        self._add(rid, "lines", line)
        if exception is not None:
            with self._changes:
                self._of(rid)["exception"] = exception

    def add_statement(self, query: str, seconds: float) -> None:
        """Add an SQL statement to the current request, without the values in it."""
        rid = REQUEST_ID.get()
        if rid is not None:
            sql = _SQL_TEXT.sub("'?'", str(query))[:LONGEST]
            self._add(rid, "statements", {"sql": sql, "ms": round(seconds * 1000, 2)})

    def __call__(self, request: Any, status: int, seconds: float) -> None:
        """Observe a request after its response."""
        with self._changes:
            collected = self._open.pop(request.id, {})
        path = request.get_path()
        if path.startswith(OWN_PATHS) or getattr(request, "is_console_page", False):
            return
        entry = {
            "rid": request.id,
            "time": time.time(),
            "method": request.method_label,
            "path": path[:LONGEST],
            "route": request.route_label,
            "status": status,
            "reason": request.rejected.reason.value if request.rejected is not None else "",
            "ms": round(seconds * 1000, 2),
            "lines": [],
            "statements": [],
            "exception": None,
            **collected,
        }
        sent = (request.environ.get(key) for key in (self._header, "HTTP_AUTHORIZATION", "HTTP_COOKIE"))
        values = {part for value in sent if value for part in (value, value.rpartition(" ")[2]) if len(part) >= 8}
        entry = _masked(entry, (*sorted(values, key=len, reverse=True), *self._secrets))
        size = len(json.dumps(entry))
        with self._changes:
            self._entries.append((size, entry))
            self._bytes += size
            while len(self._entries) > MOST or (self._bytes > MOST_BYTES and len(self._entries) > 1):
                self._bytes -= self._entries.popleft()[0]

    def _add(self, rid: str, name: str, value: Any) -> None:
        with self._changes:
            found = self._of(rid).setdefault(name, [])
            if len(found) < MOST_LINES:
                found.append(value)

    def _of(self, rid: str) -> dict[str, Any]:
        while len(self._open) >= MOST_OPEN and rid not in self._open:
            self._open.popitem(last=False)
        return self._open.setdefault(rid, {})

    def _described(self, error: BaseException) -> dict[str, Any]:
        found = described(error, self._base)
        found["message"] = found["message"][:LONGEST]
        found["frames"] = [
            {**frame, "source": self._source(frame["file"], frame["line"] or 0)} for frame in found["frames"][-20:]
        ]
        return found

    def _source(self, file: str, number: int) -> list[list[Any]]:
        lines = linecache.getlines(str(self._base / file))
        around = range(max(1, number - AROUND), min(len(lines), number + AROUND) + 1)
        return [[each, mask(lines[each - 1].rstrip()[:200], self._secrets, named=False)] for each in around]


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, Mapping):
        return {name: each if name == "source" else _masked(each, secrets) for name, each in value.items()}
    return [_masked(each, secrets) for each in value] if isinstance(value, list) else value


def _time_statements(connection: Any, history: History) -> None:
    """Report each statement of the ORM to ``history``. The ORM's own log rounds to hundredths of a second."""
    statement = connection.statement

    def timed(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return statement(self, query, *arguments, **named)
        finally:
            history.add_statement(query, time.perf_counter() - began)

    connection.statement = timed
