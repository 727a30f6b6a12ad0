"""A real PostgreSQL server on a loopback port."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from .servers import free_port

USER = "postgres"
"""The user that the server runs as if the tests run as root: Debian's package creates it. It does not run as root."""


def programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`: on the path, or where Debian's package has them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda folder: int(folder.split("/")[4]))
    return Path(folders[-1]) if folders else None


def skip_or_fail(reason: str) -> None:
    if "POSTGRES_REQUIRED" in os.environ:
        raise AssertionError(f"{reason}, but POSTGRES_REQUIRED is set")
    pytest.skip(reason)


class PostgresServer:
    """A server that does not wait for its disk. The end of the `with` block stops it."""

    def __init__(self) -> None:
        found = programs()
        if found is None:
            skip_or_fail("PostgreSQL is not installed: apt-get install postgresql")
        try:
            import psycopg2  # noqa: F401
        except ImportError:
            skip_or_fail("psycopg2 is not installed: pip install psycopg2-binary")
        self._folder = folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # the folders of pytest are closed to others
        self._programs, self._data, self._log = found, folder / "data", folder / "log"
        self._user: dict[str, int] = {}
        if os.getuid() == 0:
            entry = pwd.getpwnam(USER)
            self._user = {"user": entry.pw_uid, "group": entry.pw_gid}
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self.port = free_port()
        self.url = f"postgres://origin@127.0.0.1:{self.port}/postgres"
        command = [found / "initdb", "-D", self._data, "-U", "origin", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
        self._run(*map(str, command))

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=60, **self._user)  # type: ignore[call-overload]

    def __enter__(self) -> "PostgresServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        options = ["-D", str(self._data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        options += ["-c", "unix_socket_directories=", "-c", "full_page_writes=off"]
        with open(self._log, "ab") as output:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), *options],
                cwd="/",
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self._user,  # type: ignore[call-overload]
            )
        end = time.monotonic() + 60
        while True:
            try:
                self.query("SELECT 1")
                return
            except Exception:
                assert self._process.poll() is None and time.monotonic() < end, self._log.read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server at once: open connections are closed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # "fast": transactions are rolled back
            self._process.wait(30)

    def hang(self) -> None:
        """Stop all its processes, which keep their connections open, until `resume`."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        for backend in self._backends():
            os.kill(backend, signal.SIGSTOP)

    def resume(self) -> None:
        for backend in self._backends():
            os.kill(backend, signal.SIGCONT)
        os.killpg(self._process.pid, signal.SIGCONT)

    def _backends(self) -> list[int]:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def query(self, statement: str) -> list[tuple]:
        """Run a statement over a connection of its own, and return its rows."""
        import psycopg2

        connection = psycopg2.connect(self.url.replace("postgres://", "postgresql://"), connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()
