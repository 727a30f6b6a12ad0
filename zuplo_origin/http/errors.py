"""Errors as JSON responses: the exception to raise, statuses with their phrases, and the exception handler."""

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger("zuplo_origin")

ERRORS = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    413: "Payload too large",
    415: "Unsupported media type",
    500: "Internal server error",
    503: "Service unavailable",
}
"""Status to phrase, for all errors that are not about a token. Any other 4xx becomes 400."""


class HttpException(Exception):
    """Raise it during a request for a response with ``status``, its phrase in ``ERRORS``, and ``headers``."""

    is_http_exception = True

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.headers = dict(headers or {})

    def get_status(self) -> int:
        return self.status


def error(response: Any, status: int, headers: Mapping[str, str] | None = None) -> Any:
    """Fill ``response`` with the error for ``status``, and return it."""
    status = status if status in ERRORS else 400
    response.with_headers(headers or {}).json({"error": ERRORS[status]}, status=status)
    return response


def internal_error(response: Any) -> Any:
    """Fill ``response`` with the error for an unhandled exception, and return it."""
    return error(response, 500)


class JsonExceptionHandler:
    """Bound to the container as ``exception_handler``. Error responses never contain the exception.

    An exception with an HTTP status (``HttpException``, or Masonite's) becomes the error for that status. Any other is
    an unhandled exception: status 500, and one event in the log, with its traceback.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    def handle(self, exception: BaseException) -> Any:
        """Fill the response of the current request, and return it."""
        response = self.application.make("response")
        status = exception.get_status() if hasattr(exception, "get_status") else 500
        if not isinstance(status, int) or not (400 <= status < 500 or status == 503):
            request = self.application.make("request")
            fields = {"method": request.method_label, "route": request.route_label}
            log.error("unhandled_exception", extra={"fields": fields}, exc_info=exception)
            return internal_error(response)
        return error(response, status, getattr(exception, "headers", {}))
