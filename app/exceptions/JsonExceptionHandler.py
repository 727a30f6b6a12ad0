"""From an exception to an answer."""

import logging
from typing import Any

from . import answers

log = logging.getLogger("app")


class JsonExceptionHandler:
    """Bound to the container as ``exception_handler``. Answers in JSON, and says nothing of the exception.

    An exception that carries an HTTP status (this application's, or Masonite's) is answered with it; any other is a
    mistake of the application: logged whole, answered with 500.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    def handle(self, exception: BaseException) -> Any:
        """Fill the response of the request under way, and return it."""
        response = self.application.make("response")
        status = exception.get_status() if hasattr(exception, "get_status") else 500
        if not isinstance(status, int) or not (400 <= status < 500 or status == 503):
            log.error("the application broke", exc_info=exception)
            return answers.internal_error(response)
        return answers.error(response, status, getattr(exception, "headers", {}))
