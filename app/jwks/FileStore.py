"""A store for the processes of one machine: files that no other user can read."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class FileStore:
    """Files in ``folder``, which is made for this user alone. A file's time of change is when it is over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, longest: int) -> bytes | None:
        try:
            with open(self._folder / name, "rb") as file:
                return file.read(longest) if os.fstat(file.fileno()).st_mtime > time.time() else None
        except FileNotFoundError:
            return None

    def put(self, name: str, value: bytes, seconds: float) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, path = tempfile.mkstemp(dir=self._folder)
        try:
            with open(number, "wb") as file:
                file.write(value)
            os.utime(path, times=(time.time() + seconds,) * 2)
            os.replace(path, self._folder / name)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(path)
            raise

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        with self._alone():
            if self.get(name, 1) is not None:
                return False
            self.put(name, value, seconds)
            return True

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._folder / name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While the block runs, no other process is in such a one: the lock ends with the file, whatever happens."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / "lock", "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
