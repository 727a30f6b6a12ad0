"""The body of a request: read once, within its route's limit, and parsed as JSON, as a form or as an upload."""

import io
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any
from urllib.parse import parse_qs

from masonite.filesystem import UploadedFile
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header

from zuplo_origin.encoding import has_nonfinite, load_json

from .errors import HttpException

DEFAULT_LIMIT = 1_048_576
"""Bytes of a body, unless ``MAX_BODY_BYTES`` or a route's ``body`` middleware says otherwise."""
IN_MEMORY = 1_048_576
"""Bytes of a body, or of an uploaded file, that are kept in memory; what is larger is spooled to disk."""
MAX_FIELDS = 1000
"""Fields and files of a form."""
MAX_NESTING = 10
"""Brackets in the name of a form's field: ``a[b][c]`` has two."""
_SIZE = re.compile(r"([0-9]{1,9})(KB|MB)?")
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")


def size_of(text: str) -> int:
    """Return the bytes that ``text`` means: ``20MB``, ``64KB`` or ``4096``. Raises ``ValueError``."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a size: write 4096, 64KB or 20MB")
    return int(found[1]) * {"KB": 1024, "MB": 1_048_576}.get(found[2], 1)


def check_framing(environ: Mapping[str, Any]) -> None:
    """Raise ``HttpException`` if the end of the request's body is not certain (RFC 9112, section 6).

    400 for ``Transfer-Encoding`` with ``Content-Length``, the mark of request smuggling, and for a coding that is not
    ``chunked`` in the end; 501 for a further coding.
    """
    stated = environ.get("CONTENT_LENGTH") or "0"
    if not (stated.isascii() and stated.isdigit()):
        raise HttpException(400, reason="Content-Length is not a number")
    if "HTTP_TRANSFER_ENCODING" not in environ:
        return
    codings = [each.strip().lower() for each in environ["HTTP_TRANSFER_ENCODING"].split(",")]
    if environ.get("CONTENT_LENGTH"):
        raise HttpException(400, reason="the request has Content-Length and Transfer-Encoding")
    if codings[-1] != "chunked" or codings.count("chunked") > 1 or environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        raise HttpException(400, reason=f"the transfer coding is {', '.join(codings)[:100]!r}; expected chunked")
    if len(codings) > 1:
        raise HttpException(501, reason=f"the transfer coding is {', '.join(codings)[:100]!r}; expected chunked")


class Upload(UploadedFile):
    """An uploaded file. ``filename`` is what the client calls it: never use it as a path."""

    def __init__(self, filename: str, file: IO[bytes], content_type: str) -> None:
        self.filename, self._file, self.content_type = filename, file, content_type

    def stream(self) -> IO[bytes]:
        """Return the file, at its beginning. It is removed when the response has been sent."""
        self._file.seek(0)
        return self._file

    @property
    def content(self) -> bytes:
        """The whole file, in memory."""
        return self.stream().read()

    def get_content(self) -> bytes:
        return self.content

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.seek(0, io.SEEK_END)

    def path_name(self) -> str:
        return str(self.filename)

    def hash_name(self) -> str:
        """Return a name without anything that the client chose."""
        import hashlib

        return hashlib.sha256(self.content).hexdigest()

    def hash_path_name(self) -> str:
        return f"{self.hash_name()}{self.extension()}"


class Content:
    """The body of one request. Each form of it can be read as often as wanted, in any order.

    ``limit`` is in bytes; ``folder`` is where large bodies and files are spooled, as files without a name.
    Reading raises ``HttpException``: 400 for a broken body, 408 for one that did not arrive in time, 413 for one that
    is too large, 415 for one of another type, without a type, or with a content coding; 503 if the disk is full.
    """

    def __init__(self, environ: Mapping[str, Any], limit: int = DEFAULT_LIMIT, folder: str | None = None) -> None:
        self._environ, self._limit, self._folder = environ, limit, folder
        self._file: IO[bytes] | None = None
        self._bytes: bytes | None = None
        self._json: Any = _UNREAD
        self._form: dict[str, Any] | None = None
        self._spooled: list[IO[bytes]] = []
        self.type, self._options = parse_options_header(environ.get("CONTENT_TYPE") or "")
        self.type = self.type.lower()

    @property
    def is_json(self) -> bool:
        """True for a JSON body, by its type (RFC 6839, section 3.1)."""
        return self.type == "application/json" or self.type.endswith("+json")

    def raw(self) -> bytes:
        """Return the body as it was sent."""
        if self._bytes is None:
            file = self._open()
            self._bytes = file.read()
        return self._bytes

    def chunks(self, size: int) -> Iterator[bytes]:
        """Return the body in chunks of ``size`` bytes, the last one shorter, each read when it is wanted."""
        file = self._open()

        def read() -> Iterator[bytes]:
            position = 0
            while True:
                file.seek(position)  # other methods may have read in the meantime
                chunk = file.read(size)
                if not chunk:
                    return
                position += len(chunk)
                yield chunk

        return read()

    def json(self) -> Any:
        """Return the value of a JSON body (RFC 8259, and RFC 7493 for what two parsers may read in two ways)."""
        if self._json is _UNREAD:
            self._check_coding()
            if not self.is_json:
                raise HttpException(415, reason=self._wrong_type("JSON"))
            try:
                self._json = load_json(self.raw())
            except ValueError as error:
                raise HttpException(400, reason=f"the body is not valid JSON: {error}") from None
            if has_nonfinite(self._json):
                self._json = _UNREAD
                raise HttpException(400, reason="the body has a number that no float can hold")
        return self._json

    def fields(self) -> dict[str, Any]:
        """Return the members of a JSON object or the fields of a form; ``{}`` for an empty body and for other JSON.

        A field that occurs once is a string, one that occurs several times a list of strings. Uploaded files are lists
        of ``Upload``.
        """
        if self._form is None:
            self._form = self._read_fields()
        return self._form

    def _read_fields(self) -> dict[str, Any]:
        if not self.type and self._is_empty():
            return {}
        self._check_coding()
        if self.is_json:
            if self._is_empty():
                return {}
            value = self.json()
            return value if isinstance(value, dict) else {}
        if self.type == "application/x-www-form-urlencoded":
            return nested(_pairs(self.raw()))
        if self.type == "multipart/form-data":
            return self._multipart()
        raise HttpException(415, reason=self._wrong_type("JSON or a form"))

    def _multipart(self) -> dict[str, Any]:
        boundary = self._options.get("boundary", "").encode("latin-1", "replace")
        if not boundary or len(boundary) > 70:  # RFC 2046, section 5.1.1
            raise HttpException(400, reason="multipart/form-data without a valid boundary")
        parser = MultiPartParser(
            stream_factory=self._new_file, max_form_memory_size=IN_MEMORY, max_form_parts=MAX_FIELDS
        )
        file = self._open()
        try:
            form, files = parser.parse(file, boundary, None)
        except RequestEntityTooLarge:
            reason = f"a form may have {MAX_FIELDS} parts and {IN_MEMORY} bytes of fields"
            raise HttpException(413, reason=reason) from None
        except OSError:
            raise HttpException(503, reason="an uploaded file could not be spooled to disk") from None
        except ValueError as error:
            raise HttpException(400, reason=f"broken multipart/form-data: {error}") from None
        if None in form or None in files:  # werkzeug's name for a Content-Disposition that it cannot read
            raise HttpException(400, reason="broken multipart/form-data: a part without a name")
        fields = nested({name: form.getlist(name) for name in form})
        for name in files:
            uploads = [Upload(each.filename or "", each.stream, each.mimetype) for each in files.getlist(name)]
            fields[name.removesuffix("[]")] = uploads
        return fields

    def _new_file(self, *stated: Any, **more: Any) -> IO[bytes]:
        """Return a file for a body or an upload. werkzeug passes the size that the client states: it is not used."""
        file: Any = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=self._folder)  # noqa: SIM115  # see close
        self._spooled.append(file)
        return file  # type: ignore[no-any-return]

    def _check_coding(self) -> None:
        coding = (self._environ.get("HTTP_CONTENT_ENCODING") or "identity").strip().lower()
        if coding != "identity":
            raise HttpException(415, reason=f"the body has the content coding {coding[:20]!r}")

    def _wrong_type(self, expected: str) -> str:
        return f"the body has the type {self.type[:60]!r}, expected {expected}" if self.type else "it has no type"

    def _is_empty(self) -> bool:
        file = self._open()
        return not file.read(1)

    def _open(self) -> IO[bytes]:
        """Return the body as a file at its beginning."""
        if self._file is None:
            self._file = self._receive()
        self._file.seek(0)
        return self._file

    def _receive(self) -> IO[bytes]:
        """Receive the body. The production server has it already; another WSGI server waits for it in this thread."""
        stated, source = str(self._environ.get("CONTENT_LENGTH") or ""), self._environ["wsgi.input"]
        if stated and not (stated.isascii() and stated.isdigit()):
            raise HttpException(400, reason="Content-Length is not a number")
        if stated and (len(stated) > 10 or int(stated) > self._limit):
            raise HttpException(413, reason=f"the body has {stated[:10]} bytes, {self._limit} are accepted")
        if not stated and not self._environ.get("wsgi.input_terminated"):
            return io.BytesIO()  # without a length, such a server does not say where the body ends
        wanted = int(stated) if stated else self._limit + 1
        try:
            if hasattr(source, "seekable") and source.seekable():
                length = source.seek(0, io.SEEK_END)
                file = source
            else:
                file = self._new_file()
                length = _copy(source, file, wanted)
        except TimeoutError:
            raise HttpException(408) from None
        except Exception as error:  # each server has its own errors for a client that hangs up or breaks its chunks
            raise HttpException(400, reason=f"the body could not be read: {type(error).__name__}") from None
        if stated and length != wanted:
            raise HttpException(400, reason=f"the body has {length} bytes, Content-Length says {wanted}")
        if length > self._limit:
            raise HttpException(413, reason=f"the body is larger than {self._limit} bytes")
        return file  # type: ignore[no-any-return]

    def close(self) -> None:
        """Remove the spooled files."""
        for file in self._spooled:
            file.close()


_UNREAD = object()


def _copy(source: Any, target: Any, wanted: int) -> int:
    length = 0
    while length < wanted and (chunk := source.read(min(65536, wanted - length))):
        target.write(chunk)
        length += len(chunk)
    return length


def _pairs(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(body.decode("utf-8"), True, False, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise HttpException(400, reason=f"a form that cannot be read: {error}") from None


def nested(pairs: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return fields by name: ``a[]`` is the list ``a``, and ``a[b]`` the member ``b`` of ``a``, as in Masonite."""
    fields: dict[str, Any] = {}
    for name, values in pairs.items():
        value: Any = values[0] if len(values) == 1 else values
        found = _NAME.fullmatch(name)
        if found is None:
            fields[name] = value
            continue
        keys = found[2][1:-1].split("][")
        if len(keys) > MAX_NESTING:
            raise HttpException(400, reason=f"the field {name[:40]!r} is nested more than {MAX_NESTING} deep")
        if keys[-1] == "":
            keys, value = keys[:-1], values
        target, path = fields, [found[1], *keys]
        for key in path[:-1]:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise HttpException(400, reason=f"the field {name[:40]!r} is a value and an object")
        target[path[-1]] = value
    return fields


def at_path(value: Any, path: str, default: Any = None) -> Any:
    """Return what is at the dotted ``path`` in ``value``: ``items.0.sku``, or ``items.*.sku`` for a list of all."""
    for number, part in enumerate(parts := path.split(".")):
        if part == "*":
            each = list(value.values()) if isinstance(value, dict) else value
            if not isinstance(each, list):
                return default
            rest = ".".join(parts[number + 1 :])
            return [at_path(item, rest, default) for item in each] if rest else each
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return default
    return value
