"""Response bodies that are produced while they are sent: streams and files."""

import logging
import mimetypes
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import IO, Any
from urllib.parse import quote

from werkzeug.http import http_date, is_resource_modified, parse_etags, parse_if_range_header, parse_range_header

log = logging.getLogger("zuplo_origin")

CHUNK = 65536
"""Bytes of a file that are read at a time."""


class Stream:
    """The body of a streamed response: an iterator of non-empty ``bytes`` (PEP 3333).

    Each chunk is produced in the context of the request, with its bindings, log ids and span. ``start`` produces the
    first chunk, before the status is sent, so that an exception becomes an error response. ``at_end`` is called once,
    with the number of bytes sent and whether the stream was complete.
    """

    def __init__(self, chunks: Iterable[Any], at_end: Callable[[int, bool], None]) -> None:
        self._chunks: Iterator[Any] = iter(chunks)
        self._at_end = at_end
        self._context: Context | None = None
        self._first: bytes | None = None
        self._bytes, self._is_complete, self._is_closed = 0, False, False

    def start(self) -> None:
        """Produce the first chunk, in the context of the current request."""
        self._first = self._produce()
        self._context = copy_context()

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> bytes:
        chunk, self._first = self._first, None
        if chunk is None and not self._is_complete:
            assert self._context is not None, "start() has not been called"  # noqa: S101
            try:
                chunk = self._context.run(self._produce)
            except BaseException:
                self._context.run(_log_exception, "stream")
                raise
        if chunk is None:
            raise StopIteration
        self._bytes += len(chunk)
        return chunk

    def _produce(self) -> bytes | None:
        """Return the next chunk that is not empty; ``None`` at the end."""
        for chunk in self._chunks:
            if not isinstance(chunk, str | bytes | bytearray | memoryview):
                raise TypeError(f"a chunk of a stream must be bytes or str, not {type(chunk).__name__}")
            encoded = chunk.encode() if isinstance(chunk, str) else bytes(chunk)
            if encoded:
                return encoded
        self._is_complete = True
        return None

    def close(self) -> None:
        """End the stream, complete or not. The ``finally`` blocks of a generator run here."""
        if self._is_closed:
            return
        self._is_closed = True
        run = self._context.run if self._context is not None else _run
        run(self._close)

    def _close(self) -> None:
        try:
            close = getattr(self._chunks, "close", None)
            if close is not None:
                close()
        except BaseException:
            _log_exception("stream_close")
        finally:
            self._at_end(self._bytes, self._is_complete)


def _run(function: Callable[[], None]) -> None:
    function()


def _log_exception(during: str) -> None:
    log.exception("unhandled_exception", extra={"fields": {"during": during}})


class File:
    """A file as a response body, with ranges and conditional requests (RFC 9110, sections 13 and 14).

    Raises ``OSError`` if the file cannot be read.
    """

    def __init__(self, location: str, environ: Mapping[str, Any]) -> None:
        self._file: IO[bytes] = open(location, "rb")  # noqa: SIM115  # closed with the stream
        try:
            found = os.fstat(self._file.fileno())
            self._size = found.st_size
            etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
            modified = http_date(found.st_mtime)
            self.headers = {"ETag": etag, "Last-Modified": modified, "Accept-Ranges": "bytes"}
            self.status, start, end = self._select(dict(environ), etag, modified)
            self._file.seek(start)
            self._remaining = end - start
        except BaseException:
            self._file.close()
            raise
        if self.status not in (304, 412):
            self.headers["Content-Length"] = str(self._remaining)

    def _select(self, environ: dict[str, Any], etag: str, modified: str) -> tuple[int, int, int]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return 200, 0, self._size
        if (if_match := environ.pop("HTTP_IF_MATCH", None)) and not parse_etags(if_match).contains(etag[1:-1]):
            return 412, 0, 0
        if not is_resource_modified(environ, etag, last_modified=modified):
            return 304, 0, 0
        if environ["REQUEST_METHOD"] == "HEAD" or environ.get("HTTP_IF_RANGE", "").startswith("W/"):
            return 200, 0, self._size  # a weak validator never matches here (RFC 9110, section 13.1.5)
        if_range = parse_if_range_header(environ.get("HTTP_IF_RANGE"))
        if if_range.etag is not None and f'"{if_range.etag}"' != etag:
            return 200, 0, self._size
        if if_range.date is not None and http_date(if_range.date) != modified:
            return 200, 0, self._size
        requested = parse_range_header(environ.get("HTTP_RANGE"))
        if requested is None or requested.units != "bytes" or len(requested.ranges) != 1:
            return 200, 0, self._size  # several ranges: a server may ignore them (RFC 9110, section 14.2)
        selected = requested.range_for_length(self._size)
        if selected is None:
            self.headers["Content-Range"] = f"bytes */{self._size}"
            return 416, 0, 0
        self.headers["Content-Range"] = f"bytes {selected[0]}-{selected[1] - 1}/{self._size}"
        return 206, selected[0], selected[1]

    def __iter__(self) -> "File":
        return self

    def __next__(self) -> bytes:
        if self._remaining <= 0:
            raise StopIteration
        chunk = self._file.read(min(CHUNK, self._remaining))
        if not chunk:
            raise OSError("the file was truncated while it was sent")
        self._remaining -= len(chunk)
        return chunk

    def close(self) -> None:
        self._file.close()


def content_type_of(location: str) -> str:
    return mimetypes.guess_type(location)[0] or "application/octet-stream"


def disposition(name: str) -> str:
    """Return the ``Content-Disposition`` of an attachment with the file name ``name`` (RFC 6266, section 4)."""
    plain = re.sub(r"[^ !#-\[\]-~]", "_", name)
    return f'attachment; filename="{plain}"' + ("" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}")
