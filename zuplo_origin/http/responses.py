"""The response: JSON, streams and files, and headers that are valid and complete."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from masonite import facades
from masonite.headers import Header
from masonite.response import Response as MasoniteResponse
from masonite.utils.http import HTTP_STATUS_CODES

from .errors import is_status, phrase, shown
from .rendering import encode
from .requests import Cookies, Headers
from .streams import CHUNK, File, content_type_of, disposition

_NOT_FIELD_TEXT = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
"""A character that is not allowed in the value of a header (RFC 9110, section 5.5)."""
_STATUS = re.compile(r"[2-5][0-9][0-9]( [\t\x20-\x7e\x80-\xff]*)?")
"""A final status, with or without its phrase (RFC 9110, section 15; RFC 9112, section 4)."""
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header (RFC 9110, section 5.6.2)."""

SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
"""Headers of every response, unless the response sets them itself."""
_SECURITY_HEADERS = tuple((name.lower(), (name, value)) for name, value in SECURITY_HEADERS)


class Response(MasoniteResponse):
    """Masonite's response, with unchanged header names, strict JSON (RFC 8259), and streams."""

    def __init__(self, app: Any) -> None:
        # Masonite's own __init__ makes two bags that are replaced here: it is not called
        self.app = app
        self.content: Any = ""
        self._status: str | None = None
        self.statuses = HTTP_STATUS_CODES
        self.header_bag = Headers()
        self.original: Any = None
        self._cookie_jar: Cookies | None = None
        self.streamed: Iterable[Any] | None = None

    def status(self, status: int | str) -> "Response":
        """Set the status, also one that Masonite does not know. Raises ``ValueError`` if HTTP has no such status."""
        if is_status(status):
            number = int(status)
            self._status = self.statuses.get(number) or f"{number} {phrase(number)}"
        elif isinstance(status, str) and _STATUS.fullmatch(status):
            self._status = status
        else:
            raise ValueError(f"the status of a response is {shown(status)}; expected a number from 200 to 599")
        return self

    @property
    def cookie_jar(self) -> Cookies:
        if self._cookie_jar is None:
            self._cookie_jar = Cookies()
        return self._cookie_jar

    @property
    def added_cookies(self) -> list[Any]:
        return [] if self._cookie_jar is None else list(self._cookie_jar.cookies.values())

    def json(self, payload: Any, status: Any = None) -> bytes:
        """Send ``payload`` as JSON. Raises ``ValueError`` or ``TypeError`` if JSON has no such value (``NaN``).

        Without ``status``, it is the one that is set or declared already, or 200.
        """
        return self.json_text(encode(payload), status)

    def json_text(self, content: bytes, status: Any = None) -> bytes:
        """Send ``content``, which is encoded already."""
        self._forget_stream()
        self.content = content
        self.header_bag.add(Header("Content-Length", str(len(content))))
        self.header_bag.add_if_not_exists(Header("Content-Type", "application/json; charset=utf-8"))
        if status is not None or self._status is None:
            self.status(status or 200)
        return content

    def view(self, view: Any, status: int = 200) -> Any:
        """Send what an action returned: a value, or a value and a status.

        ``None`` is an empty response, with 204 unless a status is set. An iterator is streamed. Strings and Masonite's
        views are sent as they are, anything else as JSON.
        """
        self.original = view
        if isinstance(view, tuple) and len(view) == 2 and isinstance(view[1], int):
            view, status = view
            self.status(status)
        if isinstance(view, MasoniteResponse):
            return view
        if view is facades.Response:  # the facade stands for this response
            return self
        declared = self.get_status_code() is not None
        if hasattr(view, "__next__"):
            return self.stream(view)
        self._forget_stream()
        if view is None:
            if not declared:
                self.status(204)
            self.content = b""
            return self
        if not declared:
            self.status(status)
        if isinstance(view, str) or hasattr(view, "get_response"):
            return super().view(view, self._status_number())
        if isinstance(view, (bytes, bytearray, memoryview)):
            self.content = bytes(view)
            self.header_bag.add(Header("Content-Length", str(len(self.content))))
            self.header_bag.add_if_not_exists(Header("Content-Type", "application/octet-stream"))
            return self
        self.json(view, self._status_number())
        return self

    def _status_number(self) -> int:
        return int(str(self.get_status_code())[:3])

    def redirect(self, *arguments: Any, **named: Any) -> "Response":
        self._forget_stream()
        super().redirect(*arguments, **named)
        return self

    def _forget_stream(self) -> None:
        """Close the stream that new content replaces."""
        if self.streamed is not None:
            close = getattr(self.streamed, "close", None)
            self.streamed = None
            if close is not None:
                close()

    def stream(
        self,
        content: Iterable[Any] | bytes | str,
        content_type: str = "text/plain; charset=utf-8",
        force: bool = True,
        chunk_size: int = CHUNK,
    ) -> "Response":
        """Send the chunks of ``content``, ``bytes`` or ``str`` (as UTF-8), as they are produced.

        With a string, this is Masonite's ``stream(name, location)``: a download of the file at ``location``.
        """
        if isinstance(content, str):
            return self.download(content, content_type, force)
        self._forget_stream()
        self.streamed = [content] if isinstance(content, bytes | bytearray | memoryview) else content
        self.header_bag.add_if_not_exists(Header("Content-Type", content_type))
        if not self.get_status_code():
            self.status(200)
        return self

    def download(self, name: str, location: str, force: bool = False) -> "Response":
        """Send the file at ``location``, or the range that the request asks for; with ``force``, as an attachment.

        The file is read while it is sent. Raises ``OSError`` if it cannot be read.
        """
        self._forget_stream()
        file = File(location, self.app.make("environ"))
        self.with_headers(file.headers)
        self.header("Content-Type", "application/octet-stream" if force else content_type_of(location))
        if force:
            self.header("Content-Disposition", disposition(name + Path(location).suffix))
        self.status(file.status)
        if file.status in (304, 412, 416):
            file.close()
            self.content = b""
        else:
            self.streamed = file
        return self

    def get_headers(self) -> list[tuple[str, str]]:
        """Return the headers, cookies included. Raises ``ValueError`` for a character that could split the response."""
        headers = self.header_bag.render()
        if self.streamed is not None and not isinstance(self.streamed, File):  # the length is not known yet
            headers = [header for header in headers if header[0].lower() != "content-length"]
        if self._cookie_jar is not None:
            headers += self._cookie_jar.render_response()
        if _NOT_FIELD_TEXT.search("".join([text for header in headers for text in header])) or not all(
            _FIELD_NAME.fullmatch(name) for name, _ in headers
        ):
            raise ValueError("a response header contains an invalid character")
        return headers

    def get_hardened_headers(self) -> list[tuple[str, str]]:
        """Return the headers, and those of ``SECURITY_HEADERS`` that the response does not set itself.

        Responses are data: a browser must not guess another type, show them in a frame, or store them.
        """
        headers, own = self.get_headers(), self.header_bag.bag
        return headers + [header for key, header in _SECURITY_HEADERS if key not in own]
