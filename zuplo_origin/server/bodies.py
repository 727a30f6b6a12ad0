"""Request bodies, received by the event loop before a thread works on the request."""

import asyncio
import io
import logging
import tempfile
from collections.abc import Awaitable, Callable
from typing import IO, Any

log = logging.getLogger("zuplo_origin.server")

Receive = Callable[[], Awaitable[Any]]

MEMORY = 32 * 1_048_576
"""Bytes of bodies that a process holds in memory; what exceeds them is written to temporary files."""
MEMORY_OF_ONE = 1_048_576
"""Bytes of one body that are held in memory."""


class BodyError(Exception):
    """A body that cannot be used.

    ``status`` is 400 (the client has gone), 408 (it did not arrive in time) or 503 (the disk is full).
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Bodies:
    """Receives bodies, within limits of memory and time. ``folder`` is where large ones are spooled."""

    def __init__(self, seconds: float, folder: str | None = None) -> None:
        self._seconds, self._folder = seconds, folder
        self._in_memory = 0

    async def receive(self, receive: Receive, limit: int) -> "Body":
        """Return the body, up to ``limit`` bytes and the message that exceeds them. Raises ``BodyError``."""
        body = Body(self)
        try:
            await asyncio.wait_for(_fill(body, receive, limit), self._seconds)
        except asyncio.TimeoutError:  # another class than TimeoutError until Python 3.11
            body.close()
            raise BodyError(408) from None
        except OSError:  # of the temporary file
            log.exception("a body could not be spooled to disk")
            body.close()
            raise BodyError(503) from None
        except BaseException:
            body.close()
            raise
        return body

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes of memory; ``False`` when the process holds too many already."""
        if self._in_memory + size > MEMORY:
            return False
        self._in_memory += size
        return True

    def give_back(self, size: int) -> None:
        self._in_memory -= size

    def temporary_file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder)


async def _fill(body: "Body", receive: Receive, limit: int) -> None:
    while not body.is_complete and body.length <= limit:
        body.add(await receive())


class Body:
    """The received part of one body."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._file: IO[bytes] = io.BytesIO()
        self._reserved: int | None = 0
        self.length = 0
        self.is_complete = False

    def add(self, message: Any) -> None:
        """Take one ``http.request`` message (ASGI 3)."""
        if message["type"] == "http.disconnect":
            raise BodyError(400)
        chunk = message.get("body", b"")
        if self._reserved is not None:
            if self.length + len(chunk) <= MEMORY_OF_ONE and self._bodies.take(len(chunk)):
                self._reserved += len(chunk)
            else:
                self._spool()
        self._file.write(chunk)
        self.length += len(chunk)
        self.is_complete = not message.get("more_body", False)

    def _spool(self) -> None:
        held = self._file
        self._file = self._bodies.temporary_file()
        held.seek(0)
        self._file.write(held.read())
        self._bodies.give_back(self._reserved or 0)
        self._reserved = None

    def open(self) -> IO[bytes]:
        """Return the body as a file object at its beginning."""
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        if self._reserved is not None:
            self._bodies.give_back(self._reserved)
            self._reserved = None
        self._file.close()
