"""The body of a request: whole and within a limit, or refused."""

from collections.abc import Mapping
from typing import Any

from app.exceptions.HttpException import HttpException

MAX_BODY = 1_048_576
"""Bytes of a request's body, after which it is answered with 413."""


def read_body(environ: Mapping[str, Any]) -> bytes:
    """Return the whole body of a request (PEP 3333: ``wsgi.input``).

    The production server has received it before the application runs. Another WSGI server waits for it in a thread.

    Raises ``HttpException``: 413 where the body is larger than 1 MiB; 400 where its length is no number, where fewer
    bytes arrive than it states, and where the server cannot read it; 408 where it stops waiting.
    """
    stated = environ.get("CONTENT_LENGTH") or ""
    if stated:
        if not (stated.isascii() and stated.isdigit()):
            raise HttpException(400)
        if len(stated) > 10 or int(stated) > MAX_BODY:
            raise HttpException(413)
        body = _read(environ["wsgi.input"], int(stated))
        if len(body) != int(stated):
            raise HttpException(400)
        return body
    if not environ.get("wsgi.input_terminated"):
        return b""  # without a length, such a server gives no end to read to
    body = _read(environ["wsgi.input"], MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise HttpException(413)
    return body


def _read(stream: Any, size: int) -> bytes:
    try:
        return stream.read(size)  # type: ignore[no-any-return]
    except TimeoutError:
        raise HttpException(408) from None
    except Exception:  # each server has errors of its own for a client that hangs up, or breaks its chunks
        raise HttpException(400) from None
