"""What ``craft`` prepares before the application is made. Servers take their environment as it is."""

import os
import re
import time
import traceback
from pathlib import Path
from typing import Any

from dotenv import load_dotenv


def prepare_environment(root: Path) -> None:
    """Read ``.env`` in ``root``, and make ``APP_ENV`` local where nothing says otherwise.

    What the process was started with wins over the file, and in production the file is not read at all.
    """
    if os.environ.get("APP_ENV") != "production":
        load_dotenv(root / ".env", override=False)
    if not os.environ.get("APP_ENV") and not os.environ.get("JWT_ISSUER"):
        os.environ["APP_ENV"] = "local"


def join_negative_numbers(arguments: list[str]) -> list[str]:
    """Return ``arguments`` with ``--ttl -60`` written as ``--ttl=-60``: the parser would take ``-60`` for options."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and re.fullmatch(r"-[0-9]+", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


RELOAD = 3
"""The exit status with which a process asks its reloader to start it anew."""


def load_application(root: Path) -> Any:
    """Return ``wsgi.application``.

    Where a file is broken that was saved under a development server, the error is told, and the next change is waited
    for: the server would end otherwise.
    """
    try:
        from wsgi import application
    except Exception:
        if os.environ.get("WERKZEUG_RUN_MAIN") != "true":
            raise
        traceback.print_exc()
        before, reloader = _saved(root), os.getppid()
        while _saved(root) == before and os.getppid() == reloader:
            time.sleep(0.5)
        raise SystemExit(RELOAD) from None
    return application


def _saved(root: Path) -> dict[Path, float]:
    """When each of the application's files was last saved."""
    patterns = ("*.py", "app/**/*.py", "config/**/*.py", "routes/**/*.py")
    return {file: file.stat().st_mtime for pattern in patterns for file in root.glob(pattern)}
