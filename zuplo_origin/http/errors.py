"""Errors as JSON responses: exceptions, statuses and their phrases."""

import logging
from collections.abc import Mapping
from typing import Any


class HttpException(Exception):
    """Raise it anywhere in a request to answer with ``status`` and its fixed phrase.

    ``headers`` are sent with the answer. There is no room for a message: what is said to clients stands in
    ``app/exceptions/py``.
    """

    is_http_exception = True

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.headers = dict(headers or {})

    def get_status(self) -> int:
        return self.status


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
"""Status to phrase, for all that has nothing to do with a token. Any other 4xx is answered as 400."""


def error(response: Any, status: int, headers: Mapping[str, str] | None = None) -> Any:
    """Fill ``response`` with the answer for ``status``, and return it."""
    status = status if status in ERRORS else 400
    response.with_headers(headers or {}).json({"error": ERRORS[status]}, status=status)
    return response


def internal_error(response: Any) -> Any:
    """Fill ``response`` with the answer for a mistake of the application, and return it."""
    return error(response, 500)


_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
_KEYS = tuple((name.lower(), (name, value)) for name, value in _ALWAYS)


def hardened(response: Any) -> list[tuple[str, str]]:
    """Return the headers of ``response``, and those that every answer of the application carries.

    An answer is data, for whoever asked for it: no browser is to take it for anything else, show it in a frame, or keep
    it. A controller may say otherwise; of a guarded route nothing is ever kept, see ``JWTAuthMiddleware``.
    """
    headers: list[tuple[str, str]] = response.get_headers()
    said = response.header_bag.bag
    return headers + [field for key, field in _KEYS if key not in said]


log = logging.getLogger("zuplo_origin")


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
            return internal_error(response)
        return error(response, status, getattr(exception, "headers", {}))
