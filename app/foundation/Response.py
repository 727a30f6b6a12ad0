"""A response that can be sent."""

import json
import re
from typing import Any

import orjson
from masonite.headers import Header
from masonite.response import Response as MasoniteResponse
from masonite.utils.http import HTTP_STATUS_CODES

from app.encoding import strict_json

from .Cookies import Cookies
from .Headers import Headers

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_slower = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _encode(value: Any) -> bytes:
    """Return ``value`` as JSON (RFC 8259); ``ValueError`` or ``TypeError`` where JSON has no such value.

    orjson takes a fifth of the standard library's time, but it has no integers over 64 bits, and writes ``null`` for
    ``NaN``.
    """
    try:
        encoded = orjson.dumps(value)
    except TypeError:
        return _slower.encode(value).encode("utf-8")
    if b"null" in encoded and strict_json.has_nonfinite(value):
        raise ValueError("JSON has no number that is not finite")
    return encoded


class Response(MasoniteResponse):
    """Masonite's response, with header names as they were given, and JSON that every parser takes."""

    def __init__(self, app: Any) -> None:
        # not Masonite's own, which makes two bags to be thrown away
        self.app = app
        self.content: Any = ""
        self._status: str | None = None
        self.statuses = HTTP_STATUS_CODES
        self.header_bag = Headers()
        self.original: Any = None
        self._cookie_jar: Cookies | None = None

    @property
    def cookie_jar(self) -> Cookies:
        if self._cookie_jar is None:
            self._cookie_jar = Cookies()
        return self._cookie_jar

    def json(self, payload: Any, status: Any = 200) -> bytes:
        """Answer with ``payload`` as JSON; ``ValueError`` where JSON has no such value (``NaN``, a lone surrogate)."""
        return self.json_text(_encode(payload), status)

    def view(self, view: Any, status: Any = 200) -> Any:
        """Answer with what an action returned."""
        if isinstance(view, dict) and self._status is None:  # the usual case, without what the others need
            self.original = view
            return self.json(view, status)
        return super().view(view, status)

    def json_text(self, content: bytes, status: Any = 200) -> bytes:
        """Answer with ``content``, which is JSON already."""
        self.content = content
        self.header_bag.add(Header("Content-Length", str(len(content))))
        self.header_bag.add_if_not_exists(Header("Content-Type", "application/json; charset=utf-8"))
        self.status(status)
        return content

    def get_headers(self) -> list[tuple[str, str]]:
        """Return the headers, cookies included; ``ValueError`` where one could split the response in two."""
        headers = self.header_bag.render()
        if self._cookie_jar is not None:
            headers += self._cookie_jar.render_response()
        if _CONTROL.search("".join([text for header in headers for text in header])):
            raise ValueError("a control character in a header of the response")
        return headers
