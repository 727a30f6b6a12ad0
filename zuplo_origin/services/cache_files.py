"""A cache store on files, shared by the processes of one machine.

An entry is a file that is written elsewhere and renamed, so that it is never read half written. What reads and then
writes holds a lock (``flock``) on the entry's folder: the threads of a process too, because each opens the lock itself.
"""

import fcntl
import hashlib
import json
import logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .cache import LARGEST, MISSING, REMEMBER_SECONDS, CacheUnavailable, Count, Store, decode, encode, whole_number

log = logging.getLogger("zuplo_origin.cache")

_NEVER = 253402300799.0
"""The expiry, in the year 9999, of an entry without a limit."""
_LONGEST = 10 * 365 * 86400.0
"""Seconds after which an entry is removed in any case, because file systems do not have every modification time."""
_REPORT_SECONDS = 2.0
"""Time between two lines of the log about a file system that fails."""
_CLEAN_ONE_IN = 64
"""A write removes the expired entries of its folder, one of 256, with this probability."""


class FileStore(Store):
    """Entries as files in ``folder``, named after a hash of the key. Their modification time says when they expire."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder, self._report_at = name, folder, 0.0

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / digest[:2] / digest

    def read(self, key: str) -> Any:
        entry = self._read(self._path(key), key)
        return MISSING if entry is None else entry[1]

    def _read(self, path: Path, key: str) -> tuple[float, Any] | None:
        """Return expiry and value; ``None`` if there is no valid entry."""
        try:
            with self._reporting(), open(path, "rb") as file:
                entry = decode(file.read(LARGEST + 4096))
        except FileNotFoundError:
            return None
        # [key, expiry, value]; anything else was not written here
        if not isinstance(entry, list) or len(entry) != 3 or entry[0] != key or not isinstance(entry[1], (int, float)):
            return None
        return (entry[1], entry[2]) if entry[1] > time.time() else None

    def _write(self, path: Path, key: str, encoded: bytes, expiry: float) -> None:
        """Write an entry. The caller holds the lock of its folder."""
        with self._reporting():
            temporary = path.parent / ".new"  # one writer at a time: a process that dies leaves one file at most
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(b"[%b,%r,%b]" % (json.dumps(key).encode("ascii"), expiry, encoded))
                file.flush()
                removed_at = max(0.0, min(expiry, time.time() + _LONGEST))
                os.utime(file.fileno(), (removed_at, removed_at))
            os.replace(temporary, path)
        if random.randrange(_CLEAN_ONE_IN) == 0:  # noqa: S311
            self._remove_expired(path.parent)

    def _remove_expired(self, folder: Path) -> None:
        now = time.time()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.stat(follow_symlinks=False).st_mtime < now:
                    os.unlink(entry.path)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn an error of the file system into ``CacheUnavailable``; a missing file is not one."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            if time.monotonic() >= self._report_at:  # not one line for each request
                self._report_at = time.monotonic() + _REPORT_SECONDS
                fields = {"store": self._name, "error": error.strerror or type(error).__name__}
                log.error("cache_unavailable", extra={"fields": fields})
            raise CacheUnavailable from None

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        handle = self._open(folder / ".lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)  # releases the lock

    def _open(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with self._reporting():
            try:
                return os.open(path, flags, 0o600)
            except FileNotFoundError:
                path.parent.mkdir(0o700, parents=True, exist_ok=True)
                return os.open(path, flags, 0o600)

    def write(self, key: str, encoded: bytes, seconds: float | None) -> None:
        path = self._path(key)
        with self._locked(path.parent):
            self._write(path, key, encoded, _expiry(seconds))

    def write_if_missing(self, key: str, encoded: bytes, seconds: float | None) -> Any:
        path = self._path(key)
        with self._locked(path.parent):
            entry = self._read(path, key)
            if entry is not None:
                return entry[1]
            self._write(path, key, encoded, _expiry(seconds))
        return MISSING

    def add_number(self, key: str, amount: int) -> int:
        path = self._path(key)
        with self._locked(path.parent):
            expiry, value = self._read(path, key) or (_NEVER, 0)
            total = whole_number(value) + amount
            self._write(path, key, encode(total), expiry)
        return total

    def count(self, key: str, limit: int, seconds: float) -> Count:
        path = self._path(key)
        with self._locked(path.parent):
            expiry, count = self._read(path, key) or (_expiry(seconds), 0)
            if not isinstance(count, int):
                expiry, count = _expiry(seconds), 0
            accepted = count < limit
            if accepted:
                count += 1
                self._write(path, key, encode(count), expiry)
        return Count(accepted, count, max(0.0, expiry - time.time()))

    def seconds_left(self, key: str) -> float | None:
        entry = self._read(self._path(key), key)
        return None if entry is None or entry[0] == _NEVER else max(0.0, entry[0] - time.time())

    def forget(self, key: str) -> bool:
        path = self._path(key)
        with self._locked(path.parent):
            found = self._read(path, key) is not None
            with suppress(FileNotFoundError), self._reporting():
                path.unlink()
        return found

    def flush(self) -> None:
        for folder in self._folder.glob("[0-9a-f][0-9a-f]"):
            with self._locked(folder), self._reporting():
                for path in folder.glob("[0-9a-f]*"):
                    path.unlink(missing_ok=True)

    @contextmanager
    def computing(self, key: str) -> Iterator[None]:
        path = self._folder / "computing" / self._path(key).name
        handle, end = self._open(path), time.monotonic() + REMEMBER_SECONDS
        try:
            pause = 0.002
            while not _is_locked(handle) and time.monotonic() < end:
                time.sleep(pause)
                pause = min(pause * 1.5, 0.05)
            yield
        finally:
            with suppress(OSError):  # a process that waits for this lock reads the value, and ends
                path.unlink()
            os.close(handle)


def _is_locked(handle: int) -> bool:
    """Take the lock, and return whether it was free."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _expiry(seconds: float | None) -> float:
    return _NEVER if seconds is None else min(time.time() + seconds, _NEVER)
