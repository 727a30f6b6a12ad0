"""The body of a request: whole and within a limit, or refused."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from app.exceptions.HttpException import HttpException

MAX_BODY = 1_048_576
"""Bytes of a request's body, after which it is answered with 413."""


def read_body(environ: Mapping[str, Any], waiting_room: Any = None) -> bytes:
    """Return the whole body of a request (PEP 3333: ``wsgi.input``).

    A server waits for a body for as long as its client takes, and holds a thread for it. Those who wait in
    ``waiting_room`` never take all threads.

    Raises ``HttpException``: 413 where the body is larger than 1 MiB; 400 where its length is no number, where fewer
    bytes arrive than it states, and where the server cannot read it; 503 where there is no room to wait.
    """
    stated = environ.get("CONTENT_LENGTH") or ""
    if stated:
        if not (stated.isascii() and stated.isdigit()):
            raise HttpException(400)
        if len(stated) > 10 or int(stated) > MAX_BODY:
            raise HttpException(413)
        body = _read(environ["wsgi.input"], int(stated), waiting_room)
        if len(body) != int(stated):
            raise HttpException(400)
        return body
    if not environ.get("wsgi.input_terminated"):
        return b""  # without a length, such a server gives no end to read to
    body = _read(environ["wsgi.input"], MAX_BODY + 1, waiting_room)
    if len(body) > MAX_BODY:
        raise HttpException(413)
    return body


def _read(stream: Any, size: int, waiting_room: Any) -> bytes:
    with waiting_room.seat() if waiting_room else nullcontext(True) as seated:
        if not seated:
            raise HttpException(503, headers={"Retry-After": "1"})
        try:
            return stream.read(size)  # type: ignore[no-any-return]
        except Exception:  # each server has errors of its own for a client that hangs up, or breaks its chunks
            raise HttpException(400) from None
