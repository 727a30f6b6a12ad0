"""What a development server leaves for ``craft jwt:token``: where it is, where its issuer is, and the issuer's keys."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from .IssuerKeys import IssuerKeys
from .private_file import write_private

MARKER = "DEVELOPMENT_SERVER"
"""The variable by which ``craft serve`` tells its own processes that the issuer is the embedded one."""


class NotRunning(Exception):
    """No development server is running here."""


@dataclass(frozen=True)
class Development:
    """A development server: ``address`` is its URL, ``issuer`` the ``iss`` that it believes, ``process`` its id."""

    address: str
    issuer: str
    process: int

    @staticmethod
    def folder(storage: str) -> Path:
        """Return the folder, git-ignored, in which all of it stands."""
        return Path(storage) / "development"

    @classmethod
    def keys(cls, storage: str) -> IssuerKeys:
        """Return the issuer's keys."""
        return IssuerKeys.load(cls.folder(storage) / "keys.json")

    def announce(self, storage: str) -> None:
        """Write where the server is."""
        write_private(self._file(storage, self.process), json.dumps(asdict(self)))

    def withdraw(self, storage: str) -> None:
        """Take that back."""
        self._file(storage, self.process).unlink(missing_ok=True)

    @classmethod
    def running(cls, storage: str) -> "Development":
        """Return the server that is running, the one started last of several; ``NotRunning`` where there is none."""
        files = cls.folder(storage).glob("server-*.json")
        for file in sorted(files, key=lambda found: found.stat().st_mtime, reverse=True):
            try:
                found = cls(**json.loads(file.read_text(encoding="utf-8")))
                os.kill(found.process, 0)  # raises where there is no such process: it was killed, and left its file
            except (OSError, ValueError, TypeError):
                continue
            return found
        raise NotRunning("no development server is running: start one with `python craft serve`")

    @classmethod
    def _file(cls, storage: str, process: int) -> Path:
        return cls.folder(storage) / f"server-{process}.json"
