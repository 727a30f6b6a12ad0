"""The body of a request: whole, within a limit of size and of time, or refused."""

import threading
from collections.abc import Mapping
from typing import Any

from app.exceptions.HttpException import HttpException

MAX_BODY = 1_048_576
"""Bytes of a request's body, after which it is answered with 413."""
MAX_SECONDS = 10.0
"""Seconds for all of it to arrive, after which it is answered with 400."""


def read_body(environ: Mapping[str, Any]) -> bytes:
    """Return the whole body of a request (PEP 3333: ``wsgi.input``).

    Raises ``HttpException``: 413 where it is larger than 1 MiB, and 400 where its length is no number, or where fewer
    bytes arrive than it states, or not in time.
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
    """Return up to ``size`` bytes of ``stream``, read in a thread of its own: servers' reads know no time limit."""
    arrived: list[bytes] = []
    reader = threading.Thread(target=_read_into, args=(arrived, stream, size), name="body", daemon=True)
    reader.start()
    reader.join(MAX_SECONDS)
    if not arrived:
        raise HttpException(400)
    return arrived[0]


def _read_into(arrived: list[bytes], stream: Any, size: int) -> None:
    try:
        arrived.append(stream.read(size))
    except Exception:  # each server has errors of its own for a client that hangs up, or breaks its chunks
        return
