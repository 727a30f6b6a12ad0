"""Where lines go, and how they look there."""

import logging
import sys

from .JsonFormatter import JsonFormatter
from .LineFormatter import LineFormatter
from .LineHandler import LineHandler


def set_up(environment: str) -> None:
    """Write what is logged to standard error: in ``production`` as JSON, elsewhere for people.

    Does nothing where the process has a log already: a WSGI server's, or a test's.
    """
    if logging.getLogger().handlers:
        return
    handler = LineHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if environment == "production" else LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
