"""What ``craft`` prepares before the application is made. Servers take their environment as it is."""

import os
import re
from pathlib import Path

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
