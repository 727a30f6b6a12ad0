"""The folder in which the processes of a server share their counters."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "zuplo-origin-metrics-"
_LOCK = "lock"


@contextmanager
def counters_folder() -> Iterator[str]:
    """Yield a new folder, which is removed at the end, as are those of servers that were killed.

    Raises ``OSError`` if no folder for temporary files is writable.
    """
    _remove_left_behind()
    folder = tempfile.mkdtemp(prefix=".zuplo-origin-")
    try:
        with open(os.path.join(folder, _LOCK), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            locked = os.path.join(os.path.dirname(folder), PREFIX + os.path.basename(folder).rpartition("-")[2])
            os.rename(folder, locked)  # only now: another server removes a folder that is not locked
            folder = locked
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is locked, or has no lock, or has been removed
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                with open(os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK), "wb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
