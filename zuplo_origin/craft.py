"""The entry point of ``craft``: it prepares the environment, loads the application, and runs a command.

Servers do none of this: they take their environment as it is.
"""

import hashlib
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from dotenv import load_dotenv

USE_DEVELOPMENT_SERVER = ("jwt:inspect", "jwks:show")
"""Commands that use the issuer of a running development server when ``JWT_ISSUER`` is not set."""
CANNOT_START = 3
"""The exit status for an application that cannot be loaded, as in ``zuplo_origin.settings``."""
RELOAD = 3
"""The exit status with which a process asks Werkzeug's reloader to restart it."""
RESTARTED = "DEVELOPMENT_RESTARTED"
"""The environment variable that marks a server that was started again: an invalid ``.env`` does not end it."""

INHERITED: dict[str, str] = {}
"""The environment that this process was started with, before ``.env`` was read."""
ENV_FILE_SEEN = "DEVELOPMENT_ENV_FILE"
"""The environment variable with the digest of ``.env`` as the first process of ``craft serve`` has read it."""


class BadEnvFile(Exception):
    """``.env`` cannot be read. The text is the reason, in one line."""


def main(root: Path) -> int:
    """Run the command in ``sys.argv`` for the project in ``root``, and return its exit status."""
    from zuplo_origin.commands.style import outputs

    sys.argv = join_negative_numbers(sys.argv)
    INHERITED.clear()
    INHERITED.update(os.environ)
    os.environ.setdefault(ENV_FILE_SEEN, env_file_digest(root))
    try:
        prepare_environment(root, sys.argv[1] if len(sys.argv) > 1 else "")
    except BadEnvFile as error:
        print(f"Cannot start: {error}", file=sys.stderr)
        if RESTARTED in INHERITED and ENV_FILE_SEEN not in INHERITED:
            from zuplo_origin.dev.commands.serve import start_again_when_env_file_changes

            start_again_when_env_file_changes(root)
        return CANNOT_START
    application = load_application(root).make("commands").command_application
    status: int = application.run(None, *outputs())
    return status


def prepare_environment(root: Path, command: str) -> None:
    """Read ``.env`` in ``root``, and set ``APP_ENV`` to ``local`` when neither it nor ``JWT_ISSUER`` is set.

    Variables of the process override the file. In production, the file is not read. Raises ``BadEnvFile``.
    """
    if os.environ.get("APP_ENV") != "production":
        try:
            load_dotenv(root / ".env", override=False)
        except (OSError, ValueError) as error:
            raise BadEnvFile(f".env{_fault_of(root / '.env', error)}") from None
    if not os.environ.get("APP_ENV") and not os.environ.get("JWT_ISSUER"):
        os.environ["APP_ENV"] = "local"
    if os.environ.get("APP_ENV") == "local" and not os.environ.get("JWT_ISSUER") and command in USE_DEVELOPMENT_SERVER:
        _use_development_server(root / "storage")


def _fault_of(file: Path, error: Exception) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return f": {getattr(error, 'strerror', None) or error}"
    read = file.read_bytes()
    try:
        read.decode("utf-8")
    except UnicodeDecodeError as found:
        return f":{read.count(10, 0, found.start) + 1}: not UTF-8"
    return ": not UTF-8"


def env_file_digest(root: Path) -> str:
    """Return the SHA-256 of ``.env`` in ``root``; an empty string if it cannot be read."""
    try:
        return hashlib.sha256((root / ".env").read_bytes()).hexdigest()
    except OSError:
        return ""


def _use_development_server(storage: Path) -> None:
    from zuplo_origin.dev.issuer import Development, NotRunning

    with suppress(NotRunning):
        running = Development.running(str(storage))
        os.environ |= {"JWT_ISSUER": running.issuer, "JWT_AUDIENCE": f"{running.address}/*", "JWKS_URL": ""}


def join_negative_numbers(arguments: list[str]) -> list[str]:
    """Return ``arguments`` with ``--ttl -60`` written as ``--ttl=-60``, because cleo takes ``-60`` for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and re.fullmatch(r"-[0-9]+", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def load_application(root: Path) -> Any:
    """Return ``wsgi.application``. If it cannot be loaded, print why, and exit.

    Under the development server's reloader, wait until a file changes first. Otherwise the server would exit.
    """
    is_reloaded = os.environ.get("WERKZEUG_RUN_MAIN") == "true"
    before = _modification_times(root) if is_reloaded else {}  # a file may change again while it is imported
    try:
        from wsgi import application
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) or error.code != CANNOT_START:  # otherwise, the reason has been printed
            from zuplo_origin.faults import print_fault

            print_fault(error, root)
        if is_reloaded:
            restart_after_change(root, before)
        raise SystemExit(CANNOT_START) from None
    return application


def restart_after_change(root: Path, before: dict[Path, float] | None = None) -> NoReturn:
    """Wait until a file of the project has changed, and exit, so that Werkzeug's reloader starts this process again."""
    reloader = os.getppid()
    before = _modification_times(root) if before is None else before
    while _modification_times(root) == before and os.getppid() == reloader:
        time.sleep(0.5)
    raise SystemExit(RELOAD)


def _modification_times(root: Path) -> dict[Path, float]:
    patterns = ("*.py", "app/**/*.py", "config/**/*.py", "routes/**/*.py")
    return {file: file.stat().st_mtime for pattern in patterns for file in root.glob(pattern)}
