"""Where lines go, and how they look there."""

import logging
import sys

from .JsonFormatter import JsonFormatter
from .LineFormatter import LineFormatter
from .LineHandler import LineHandler


def set_up(environment: str, in_batches: bool = False) -> None:
    """Write what is logged to standard error: in ``production`` as JSON, elsewhere for people.

    ``in_batches`` is for servers, which end with ``logging.shutdown``. Does nothing when the process has a log: that of
    a WSGI server, or of a test.
    """
    if logging.getLogger().handlers:
        return
    handler = LineHandler(sys.stderr, in_batches=in_batches)
    handler.setFormatter(JsonFormatter() if environment == "production" else LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
