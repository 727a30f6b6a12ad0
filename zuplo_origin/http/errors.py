"""Errors as JSON responses: exceptions, statuses and their phrases."""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from masonite import exceptions

from zuplo_origin.encoding import without_tokens

log = logging.getLogger("zuplo_origin")

_PHRASES = {
    413: "Payload too large",  # Python 3.13 has other phrases for these three
    416: "Requested range not satisfiable",
    422: "Unprocessable entity",
    414: "URI too long",
    418: "I'm a teapot",
    505: "HTTP version not supported",
}
_MASONITE = {"ModelNotFound": 404, "HTTP404": 404}
"""Exceptions of Masonite's ORM that have a status, but no ``get_status``."""


ERROR_PAGE = "development.error_page"
"""The key of a function of request, response and exception that shows a browser a page, and returns whether it did.
Only ``craft serve`` binds it."""


class HttpException(Exception):
    """Raise it in a request to respond with ``status``: ``{"error": <its phrase>, "details": <details>}``.

    ``status`` is any from 400 to 599, ``details`` anything that JSON has, ``headers`` are added to the response.
    ``reason`` is for the log in development only. Raises ``ValueError`` for another status.
    """

    is_http_exception = True

    def __init__(
        self,
        status: int,
        details: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        if not is_status(status, 400):
            raise ValueError(f"the status of HttpException is {shown(status)}; expected a number from 400 to 599")
        Exception.__init__(self, status)  # not of Masonite's classes, which have other parameters
        self.status, self.details, self.reason = status, details, reason
        self.headers = dict(headers or {})
        self.error = phrase(status)

    def get_status(self) -> int:
        return self.status


class RouteNotFoundException(HttpException, exceptions.RouteNotFoundException):
    """Raised if no route matches the path. Its name is that of Masonite's, for events and handlers."""

    def __init__(self, path: str, method: str) -> None:
        super().__init__(404)
        self.message = f"{method} {path} : 404 Not Found"

    def __str__(self) -> str:
        return self.message


class MethodNotAllowedException(HttpException, exceptions.MethodNotAllowedException):
    """Raised if the routes of a path have other methods. Its name is that of Masonite's, for events and handlers."""

    def __init__(self, allowed: str, method: str) -> None:
        super().__init__(405, headers={"Allow": allowed})
        self.message = f"{method} method not allowed for this route. Supported methods are: {allowed}."

    def __str__(self) -> str:
        return self.message


class ValidationFailed(HttpException):
    """Respond with 422 and every fault: ``{"error": "Validation failed", "details": [{"field": …, "message": …}]}``.

    ``errors`` is what ``request.validate`` of Masonite returns, or a mapping of fields to messages, or such a list.
    """

    def __init__(self, errors: Any) -> None:
        super().__init__(422, _faults(errors))
        self.error = "Validation failed"


def _faults(errors: Any) -> list[dict[str, str]]:
    if isinstance(errors, list):
        return errors
    by_field = errors if isinstance(errors, Mapping) else errors.all()
    faults = []
    for field, messages in by_field.items():
        for message in [messages] if isinstance(messages, str) else messages:
            faults.append({"field": str(field), "message": str(message)})
    return faults


def is_status(status: Any, lowest: int = 200) -> bool:
    """Return whether ``status`` is the number of a final status, from ``lowest`` (RFC 9110, section 15)."""
    return isinstance(status, int) and not isinstance(status, bool) and lowest <= status <= 599


def shown(value: Any) -> str:
    """Return ``value`` as it is spelled in Python, for a message of one short line."""
    try:
        text = repr(value)
    except Exception:  # a number of more than 4300 digits has no text
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def phrase(status: int) -> str:
    """Return the phrase of ``status`` (RFC 9110, section 15), in sentence case."""
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase.capitalize()
    except ValueError:
        return "Client error" if status < 500 else "Server error"


def error(
    response: Any, status: int, details: Any = None, headers: Mapping[str, str] | None = None, name: str | None = None
) -> Any:
    """Fill ``response`` with the error for ``status``, and return it. ``name`` replaces the status's phrase."""
    body = {"error": name or phrase(status)} | ({"details": details} if details is not None else {})
    response.with_headers(dict(headers or {})).json(body, status=status)
    return response


def internal_error(response: Any) -> Any:
    """Fill ``response`` with the error for an unhandled exception, and return it."""
    return error(response, 500)


class JsonExceptionHandler:
    """Bound to the container as ``exception_handler``. It responds to exceptions in JSON.

    An exception that has an HTTP status (``HttpException``, Masonite's own, or one with Masonite's ``get_status``) is
    responded to with it; any other is logged, and is a 500 that contains nothing of it. Before that, the event
    ``masonite.exception.<Name>`` is fired, and a binding ``<Name>Handler`` is called instead, as in Masonite.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    def handle(self, exception: BaseException) -> Any:
        """Fill the response of the current request, and return it."""
        response, name = self.application.make("response"), type(exception).__name__
        if self.application.has("event"):
            self.application.make("event").fire(f"masonite.exception.{name}", exception)
        if self.application.has(f"{name}Handler"):
            returned = self.application.make(f"{name}Handler").handle(exception)
            response = self.application.make("response")
            return response if returned in (None, response) else response.view(returned)
        status = _status_of(exception)
        if status is None:
            return self._unhandled(response, exception)
        headers: Any = getattr(exception, "get_headers", lambda: getattr(exception, "headers", None))() or {}
        headers = {str(name): str(value) for name, value in headers.items()}
        self._log_reason(exception, status)
        if isinstance(exception, HttpException):
            return error(response, status, exception.details, headers, exception.error)
        body = exception.get_response() if hasattr(exception, "get_response") else None
        if body is None or type(exception).__module__.startswith("masonite"):
            return error(response, status, None, headers)
        response.with_headers(headers).json({"error": body} if isinstance(body, str) else body, status=status)
        return response

    def _log_reason(self, exception: BaseException, status: int) -> None:
        """Log, in development, why the response is an error, without what looks like a token."""
        if not (self.application.has("settings") and self.application.make("settings").environment == "local"):
            return
        request, reason = self.application.make("request"), getattr(exception, "reason", None)
        if isinstance(exception, HttpException) and status in (404, 405) and request.route is None:
            path, method = request.get_path()[:200], request.get_request_method()  # comparing a long path takes long
            if status == 404:
                nearest, reason = self.application.make("router").nearest(path), f"no route matches {path!r}"
            else:
                nearest = self.application.make("router").nearest(path, method)
                reason = f"{path!r} has {exception.headers.get('Allow')}, not {method}"
            reason += f"; the nearest is {nearest}" if nearest else ""
        if reason is None:
            reason = _reason(exception, Path(self.application.base_path))
        if reason:
            fields = {"status": status, "reason": without_tokens(str(reason))}
            log.info("request_error", extra={"fields": fields})

    def _unhandled(self, response: Any, exception: BaseException) -> Any:
        request = self.application.make("request")
        fields = {"method": request.method_label, "route": request.route_label}
        log.error("unhandled_exception", extra={"fields": fields}, exc_info=exception)
        internal_error(response)
        if self.application.has("settings") and self.application.make("settings").debug:
            if self.application.has(ERROR_PAGE) and self.application.make(ERROR_PAGE)(request, response, exception):
                return response
            body = {"error": phrase(500), "exception": described(exception, Path(self.application.base_path))}
            response.json(body, status=500)
        return response


def _status_of(exception: BaseException) -> int | None:
    """Return the HTTP status of ``exception``; ``None`` if it has none."""
    status = _MASONITE.get(type(exception).__name__) if type(exception).__module__.startswith("masoniteorm") else None
    if hasattr(exception, "get_status"):
        status = exception.get_status()
    return status if is_status(status, 400) else None


def described(exception: BaseException, base: Path) -> dict[str, Any]:
    """Return type, message and frames of ``exception``, for responses in development.

    Frames are those of files in the project ``base``, without installed packages and this one; all if there are none.
    """
    frames = traceback.extract_tb(exception.__traceback__)
    own = [frame for frame in frames if _is_own(Path(frame.filename), base)]
    return {
        "type": type(exception).__name__,
        "message": _message(exception),
        "frames": [
            {"file": _relative(frame.filename, base), "line": frame.lineno, "function": frame.name}
            for frame in own or frames
        ],
    }


def _reason(exception: BaseException, base: Path) -> str:
    """Return the details of ``exception``, or where the project raised it; an empty string if neither is known."""
    details = getattr(exception, "details", None)
    if isinstance(exception, ValidationFailed) and details:
        return "; ".join(f"{fault['field'] or 'body'}: {fault['message']}" for fault in details)
    if details is not None:
        return details if isinstance(details, str) else json.dumps(details, default=str)
    name = "" if isinstance(exception, HttpException) else type(exception).__name__
    own = [each for each in traceback.extract_tb(exception.__traceback__) if _is_own(Path(each.filename), base)]
    if own:
        return f"{name} raised by {own[-1].name}, {_relative(own[-1].filename, base)}:{own[-1].lineno}".strip()
    return name


def _message(exception: BaseException) -> str:
    """Return the text of ``exception``, of which JSON and UTF-8 have every character."""
    try:
        text = str(exception)
    except Exception:
        return "the exception has no text: its __str__ raises"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_own(file: Path, base: Path) -> bool:
    outside = (Path(__file__).resolve().parents[1], Path(sys.prefix), base / ".venv", base / "venv")
    return file.is_relative_to(base) and not any(file.is_relative_to(each) for each in outside)


def _relative(file: str, base: Path) -> str:
    return str(Path(file).relative_to(base)) if Path(file).is_relative_to(base) else file
