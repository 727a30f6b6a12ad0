"""A real MariaDB server on a loopback port."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from .servers import free_port

USER = "mysql"
"""The user that the server runs as if the tests run as root: Debian's package creates it. It does not run as root."""


def skip_or_fail(reason: str) -> None:
    if "MYSQL_REQUIRED" in os.environ:
        raise AssertionError(f"{reason}, but MYSQL_REQUIRED is set")
    pytest.skip(reason)


class MysqlServer:
    """A server with the database `origin`, which does not wait for its disk. The end of the `with` block stops it."""

    def __init__(self) -> None:
        program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        install = shutil.which("mariadb-install-db")
        if install is None or not Path(program).exists():
            skip_or_fail("MariaDB is not installed: apt-get install mariadb-server")
        try:
            import pymysql  # noqa: F401
        except ImportError:
            skip_or_fail("pymysql is not installed: pip install pymysql")
        self._folder = folder = Path(tempfile.mkdtemp(prefix="mysql-"))  # the folders of pytest are closed to others
        self._user: dict[str, int] = {}
        if os.getuid() == 0:
            entry = pwd.getpwnam(USER)
            self._user = {"user": entry.pw_uid, "group": entry.pw_gid}
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self.port = free_port()
        options = ["--no-defaults", f"--datadir={folder}/data"]
        subprocess.run(
            [str(install), *options, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True,
            capture_output=True,
            cwd="/",
            timeout=60,
            **self._user,  # type: ignore[call-overload]
        )
        options += [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket"]
        options += ["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"]  # as Debian's settings
        options += [f"--pid-file={folder}/pid", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M"]
        self._command = [program, *options]

    def __enter__(self) -> "MysqlServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        with open(self._folder / "log", "ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd="/",
                stdout=output,
                stderr=output,
                **self._user,  # type: ignore[call-overload]
            )
        end = time.monotonic() + 60
        while True:
            try:
                self.query("CREATE DATABASE IF NOT EXISTS origin", None)
                return
            except Exception:
                assert self._process.poll() is None and time.monotonic() < end, (self._folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server: open connections are closed."""
        self._process.terminate()
        self._process.wait(30)

    def query(self, statement: str, database: str | None = "origin") -> Any:
        """Run a statement over a connection of its own, and return its rows."""
        import pymysql

        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True, connect_timeout=5
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
