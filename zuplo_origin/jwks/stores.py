"""Stores for values that processes share, and the limits that keep a broken one from harming its users."""

import fcntl
import logging
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, Protocol, TypeVar

from zuplo_origin.observability.logs import Event

log = logging.getLogger("zuplo_origin.jwks")

P = ParamSpec("P")
T = TypeVar("T")

OPERATION_TIMEOUT = 0.5
"""Seconds that one store operation may take, name resolution included."""
PAUSE = 15.0
"""Seconds after a failed store operation in which no other is attempted."""
LOCK_TIMEOUT = 0.4
"""Seconds in which the lock of a file store must be free."""


class StoreDown(Exception):
    """A store that has failed, or has not responded in time."""


class Store(Protocol):
    """Values under names, each with a lifetime. Any exception means that the store is down.

    Other processes may write to the store: only signed values are trusted.
    """

    def get(self, name: str, longest: int) -> bytes | None:
        """Return the first ``longest`` bytes of the value; ``None`` if there is none, or its lifetime is over."""

    def put(self, name: str, value: bytes, seconds: float) -> None:
        """Store ``value`` under ``name`` for ``seconds``."""

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        """Store ``value`` unless there is one. Of concurrent calls, exactly one returns ``True``."""

    def delete(self, name: str) -> None:
        """Delete the value of ``name``, if there is one."""


class StoreWorker(threading.Thread):
    """Runs operations one after another, in a thread that a process may leave behind when it exits."""

    def __init__(self) -> None:
        super().__init__(name="jwks-store", daemon=True)
        self._operations: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self.start()

    def submit(self, operation: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()
        self._operations.put((future, operation))
        return future

    def run(self) -> None:
        while True:
            future, operation = self._operations.get()
            if future.set_running_or_notify_cancel():  # not after its caller has stopped waiting
                try:
                    future.set_result(operation())
                except Exception as error:
                    future.set_exception(error)
                del future, operation


class BoundedStore:
    """A ``store`` whose operations take half a second at most. A failed operation is followed by a pause.

    One thread runs all operations. While an operation hangs in it, in name resolution or a file system, the store stays
    down: no other thread is started. Raises ``StoreDown`` for a failed operation, and while the store is down.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # without a lock: a fork could copy it while another thread holds it. At worst, two threads start a worker each
        self._worker: StoreWorker | None = None
        self._hanging: Future[Any] | None = None
        self._down_until: float | None = None

        self.get, self.put = self._bounded(store.get), self._bounded(store.put)
        self.add, self.delete = self._bounded(store.add), self._bounded(store.delete)

    def _bounded(self, operation: Callable[P, T]) -> Callable[P, T]:
        def run(*arguments: P.args, **named: P.kwargs) -> T:
            if self._down_until is not None and self._clock() < self._down_until:
                raise StoreDown
            worker = self._worker
            if worker is None or not worker.is_alive():  # in a forked child, it is not
                worker = self._worker = StoreWorker()
                self._hanging = None
            if self._hanging is not None and not self._hanging.done():
                self._down_until = self._clock() + PAUSE
                raise StoreDown
            self._hanging = None
            # in another thread: the timeouts of a client do not cover name resolution, or a file system that hangs
            future = worker.submit(lambda: operation(*arguments, **named))
            try:
                result = future.result(OPERATION_TIMEOUT)
            except Exception as error:
                if not future.cancel() and not future.done():
                    self._hanging = future
                if self._down_until is None:
                    log.warning(Event("jwks_store_down", why=f"{type(error).__name__}: {error}".rstrip(": ")))
                self._down_until = self._clock() + PAUSE
                raise StoreDown from error
            if self._down_until is not None:
                self._down_until = None
                log.info(Event("jwks_store_back"))
            return result

        return run


class UnsafeStore(Exception):
    """A folder or file of a store that another user owns or can write to, or that is a link or a device."""


class FileStore:
    """Files in ``folder``, which only this user can read. A file's modification time is when it expires.

    Folder and files must be this user's own, and no other user may be able to write to them. Links and devices are not
    opened. Raises ``UnsafeStore`` otherwise.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, longest: int) -> bytes | None:
        with self._opened() as folder:
            return _read(folder, name, longest)

    def put(self, name: str, value: bytes, seconds: float) -> None:
        with self._opened() as folder:
            _write(folder, name, value, seconds)

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        with self._opened() as folder, _locked(folder):
            if _read(folder, name, 1) is not None:
                return False
            _write(folder, name, value, seconds)
            return True

    def delete(self, name: str) -> None:
        with self._opened() as folder, suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the folder. What is done by its number is done in this folder, whatever the path leads to meanwhile."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            number = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise UnsafeStore(f"{self._folder} is not a folder ({error.strerror})") from error
        try:
            _check_owner(number, str(self._folder), stat.S_ISDIR)
            yield number
        finally:
            os.close(number)


def _check_owner(number: int, name: str, is_expected: Callable[[int], bool]) -> None:
    found = os.fstat(number)
    if not is_expected(found.st_mode):
        raise UnsafeStore(f"{name} is neither a folder nor a regular file")
    if found.st_uid != os.geteuid():
        raise UnsafeStore(f"{name} belongs to user {found.st_uid}, not to this process's user {os.geteuid()}")
    if found.st_mode & 0o022:
        raise UnsafeStore(f"other users can write to {name}: remove the permission (chmod go-w)")


def _open_own(folder: int, name: str, flags: int) -> int:
    """Open a regular file of this user; a FIFO would hang without ``O_NONBLOCK``, and a link could lead anywhere."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        number = os.open(name, flags, 0o600, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnsafeStore(f"{name} cannot be opened, or is a link or a device ({error.strerror})") from error
    try:
        _check_owner(number, name, stat.S_ISREG)
    except BaseException:
        os.close(number)
        raise
    return number


def _read(folder: int, name: str, longest: int) -> bytes | None:
    try:
        number = _open_own(folder, name, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with open(number, "rb") as file:
        return file.read(longest) if os.fstat(number).st_mtime > time.time() else None


def _write(folder: int, name: str, value: bytes, seconds: float) -> None:
    temporary = f".{name}.{secrets.token_hex(8)}"
    number = _open_own(folder, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with open(number, "wb") as file:
            file.write(value)
            file.flush()
            os.utime(number, times=(time.time() + seconds,) * 2)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise


@contextmanager
def _locked(folder: int) -> Iterator[None]:
    """Hold a lock that all processes share. It is released when the file is closed, even by a crash."""
    number = _open_own(folder, "lock", os.O_RDWR | os.O_CREAT)
    try:
        end = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise TimeoutError("another process holds the lock") from None
                time.sleep(0.002)
        yield
    finally:
        os.close(number)
