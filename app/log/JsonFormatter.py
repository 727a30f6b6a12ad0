"""Lines for machines."""

import json
import logging
import time
from typing import Any

import orjson

from .Event import Event
from .request_context import context
from .SpelledSecond import SpelledSecond

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
