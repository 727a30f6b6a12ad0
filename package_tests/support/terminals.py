"""Programs that run in a terminal: a pseudo-terminal is their standard input, output and error."""

import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from .servers import Server, clean_environment, free_port

SGR = re.compile(r"\x1b\[[0-9;]*m")


class TerminalServer(Server):
    """``craft serve`` of ``project``, on a free port, in a terminal. ``output`` is what the terminal received."""

    def __init__(self, project: Path, log: Path, *arguments: str, **settings: str) -> None:
        self.port, self.log, self._received = free_port(), log, bytearray()
        self._terminal, child = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "craft", "serve", "--port", str(self.port), *arguments],
            cwd=project,
            env=clean_environment(**{"TMPDIR": str(log.parent), "TERM": "xterm-256color"} | settings),
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        log.touch()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):  # the last process has closed the terminal
            while received := os.read(self._terminal, 65536):
                self._received += received
                self.log.write_bytes(self._received)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        with suppress(OSError):
            os.close(self._terminal)

    def output(self) -> str:
        return self._received.decode("utf-8", "backslashreplace").replace("\r\n", "\n")

    def lines(self) -> list[str]:
        """Return the lines without their colours."""
        return SGR.sub("", self.output()).splitlines()
