"""Request bodies, received by the event loop before a thread works on the request."""

import asyncio
import io
import logging
import tempfile
from collections.abc import Awaitable, Callable
from typing import IO, Any

from zuplo_origin.observability.logs import Event

from .memory import BODIES_BYTES

log = logging.getLogger("zuplo_origin.server")

Receive = Callable[[], Awaitable[Any]]

MEMORY_OF_ONE = 1_048_576
"""Bytes of one body that are kept in memory."""


BYTES_PER_SECOND = 131_072
"""The slowest client whose large body still arrives in time, beyond the usual limit and time."""


class BodyError(Exception):
    """A body that cannot be used.

    ``status`` is 400 (the client closed the connection), 408 (the body did not arrive in time) or 503 (the disk is
    full).
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Bodies:
    """Receives bodies, within limits of memory and time. ``folder`` is where large ones are spooled.

    Bodies of ``usual_limit`` bytes at most must arrive within ``seconds``. ``memory`` is the number of bytes that are
    kept in memory, of all bodies together.
    """

    def __init__(self, seconds: float, usual_limit: int, folder: str | None = None, memory: int = BODIES_BYTES) -> None:
        self._seconds, self._usual_limit, self.folder, self._memory = seconds, usual_limit, folder, memory
        self._in_memory = 0

    async def receive(self, receive: Receive, limit: int) -> "Body":
        """Return the body. Stop after the message that takes it past ``limit`` bytes. Raises ``BodyError``.

        A route that accepts larger bodies than usual gives them more time: a second for each 128 KiB.
        """
        body = Body(self)
        seconds = self._seconds + max(0, limit - self._usual_limit) / BYTES_PER_SECOND
        try:
            await asyncio.wait_for(_fill(body, receive, limit), seconds)
        except asyncio.TimeoutError:  # another class than TimeoutError until Python 3.11
            body.close()
            raise BodyError(408) from None
        except OSError:  # of the temporary file
            log.exception(Event("body_not_spooled"))
            body.close()
            raise BodyError(503) from None
        except BaseException:
            body.close()
            raise
        return body

    def reserve(self, size: int) -> bool:
        """Reserve ``size`` bytes of memory; return ``False`` if that exceeds the process's limit."""
        if self._in_memory + size > self._memory:
            return False
        self._in_memory += size
        return True

    def release(self, size: int) -> None:
        self._in_memory -= size


async def _fill(body: "Body", receive: Receive, limit: int) -> None:
    while not body.is_complete and body.length <= limit:
        body.add(await receive())


class Body:
    """The received part of one body."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.file: IO[bytes] = io.BytesIO()  # a SpooledTemporaryFile takes six times as long for a small body
        self._reserved = 0
        self.length = 0
        self.is_complete = False

    def add(self, message: Any) -> None:
        """Add one ``http.request`` message (ASGI 3)."""
        if message["type"] == "http.disconnect":
            raise BodyError(400)
        chunk = message.get("body", b"")
        if isinstance(self.file, io.BytesIO):
            if self.length + len(chunk) <= MEMORY_OF_ONE and self._bodies.reserve(len(chunk)):
                self._reserved += len(chunk)
            else:
                in_memory = self.file.getbuffer()
                self.file = tempfile.TemporaryFile(dir=self._bodies.folder)  # noqa: SIM115
                self.file.write(in_memory)
                self._release()
        self.file.write(chunk)
        self.length += len(chunk)
        self.is_complete = not message.get("more_body", False)

    def _release(self) -> None:
        self._bodies.release(self._reserved)
        self._reserved = 0

    def close(self) -> None:
        self._release()
        self.file.close()
