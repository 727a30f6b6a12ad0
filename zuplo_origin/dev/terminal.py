"""The output of ``craft serve`` in a terminal: the banner, and one line for each request and event.

In a pipe or a file, ``craft serve`` prints the lines of ``zuplo_origin.observability.logs``; production prints JSON.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from masonite.utils.str import get_controller_name

from zuplo_origin import __version__
from zuplo_origin.commands.style import Painter
from zuplo_origin.gateway import GatewayReason
from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.jwt.reasons import Reason
from zuplo_origin.observability.logs import LineFormatter, LineHandler, event_of
from zuplo_origin.openapi.description import GUARD, scopes_of_route

WAITING_REASONS = 1000
"""Reasons that are kept until the line of their request: those of requests without a line must not fill the memory."""
_STATUS_STYLES = {2: ("green",), 3: ("cyan",), 4: ("yellow",), 5: ("error",)}
_LEVELS = {
    "warning": ("yellow",),
    "error": ("error",),
    "critical": ("error",),
}
_DETECTED = re.compile(r" \* Detected change in '(.*)', reloading")
"""Werkzeug's message."""
_REJECTED = "rejected: "
"""The console's middleware begins its warnings with this word."""
ENV_FILE_CHANGED = "reload: .env has changed"
CONSOLE = "console"
"""The key of the middleware of the console's own routes."""


def set_up(application: Any, painter: Painter) -> None:
    """Replace the format of the log's lines, if ``craft serve`` has set up the log."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            formatter = TerminalFormatter(application, painter)
            handler.setFormatter(formatter)
            handler.addFilter(formatter.is_shown)


class TerminalFormatter(LineFormatter):
    """Formats a record as a line for people: time, status, method, route, duration, and the reason of an error.

    Text of clients is escaped. A path is shown only if no route matches it, and without the tokens in it.
    """

    def __init__(self, application: Any, painter: Painter) -> None:
        super().__init__()
        self._application, self._paint = application, painter
        self._changes = threading.Lock()  # guards the reasons
        self._reasons: dict[str, str] = {}

    def is_shown(self, record: logging.LogRecord) -> bool:
        """Return whether ``record`` is a line of its own. The reason of an error is kept for the request's line."""
        event = event_of(record)
        if record.name == "werkzeug" and record.levelno < logging.WARNING:
            return _DETECTED.fullmatch(record.getMessage()) is not None
        if event is None and record.levelno == logging.WARNING and str(record.msg).startswith(_REJECTED):
            self._keep(record, record.getMessage().removeprefix(_REJECTED))
            return False
        if event is not None and event.name == "request_error":
            self._keep(record, str(event.fields["reason"]))
            return False
        if event is not None and event.name == "request":
            route = self._route(event.fields)
            return not (route is not None and CONSOLE in route.get_middlewares() and event.fields["status"] < 400)
        return True

    def _keep(self, record: logging.LogRecord, reason: str) -> None:
        with self._changes:
            if len(self._reasons) >= WAITING_REASONS:
                self._reasons.clear()
            self._reasons.setdefault(getattr(record, "rid", ""), reason)

    def formatMessage(self, record: logging.LogRecord) -> str:
        event, clock = event_of(record), self._paint(time.strftime("%H:%M:%S", time.localtime(record.created)), "dim")
        if event is not None and event.name == "request":
            return f"{clock}  {self._request(record, event.fields)}"
        level = record.levelname.lower()
        if changed := _changed(record.message, self._application.base_path):
            return f"{clock}  {self._paint(f'reload   {changed} has changed', 'cyan')}"
        if event is not None:
            fields = str(event)[len(event.name) :]
            message = self._paint(event.name, *_LEVELS.get(level, ("bold",))) + self._paint(fields.replace("\n", "\\n"))
        else:
            message = self._paint(record.message.replace("\n", "\\n"), *_LEVELS.get(level, ()))
        name = "" if record.name.split(".")[0] == "zuplo_origin" else self._paint(f"  {record.name}", "dim")
        rid = getattr(record, "rid", None)
        id = self._paint(f"  rid={rid}", "dim") if rid and record.levelno >= logging.WARNING else ""
        return f"{clock}  {self._paint(f'{level:<7}', *_LEVELS.get(level, ('dim',)))}  {message}{name}{id}"

    def formatException(self, ei: object) -> str:
        lines = logging.Formatter.formatException(self, ei).split("\n")  # type: ignore[arg-type]
        return "\n".join(f"{self._paint('  |', 'dim')} {self._paint(line)}" for line in lines)

    def _request(self, record: logging.LogRecord, fields: dict[str, Any]) -> str:
        with self._changes:
            kept = self._reasons.pop(getattr(record, "rid", ""), None)
        status, route = int(fields["status"]), self._route(fields)
        style = _STATUS_STYLES.get(status // 100, ())
        line = [
            self._paint(status, *style),
            self._paint(f"{fields['method']:<7}"),
            self._paint(f"{fields['route']:<24}"),
            self._paint(f"{fields['ms']:>7.1f} ms", "dim"),
        ]
        if "complete" in fields:
            ended = "" if fields["complete"] else ", not complete"
            line.append(
                self._paint(f"streamed {fields['bytes']} bytes{ended}", *(() if fields["complete"] else ("yellow",)))
            )
        reason = self._reason(fields, kept, route) if status >= 400 else ""
        if reason:
            line.append(self._paint(reason.replace("\n", "\\n"), *style))
        if status >= 500:
            line.append(self._paint(f"rid={getattr(record, 'rid', '-')}", "dim"))
        return "  ".join(line)

    def _reason(self, fields: dict[str, Any], kept: str | None, route: Any) -> str:
        if "reason" in fields:
            return _rejection(fields, route)
        if kept is not None:
            return kept
        if fields["status"] >= 500:
            return ""  # the exception has been logged
        controller = get_controller_name(route.controller) if route is not None else ""
        return f"responded by {controller} or a middleware" if controller else "responded by a middleware"

    def _route(self, fields: dict[str, Any]) -> Any:
        routes = self._application.make("router").routes
        method, url = str(fields["method"]).lower(), fields["route"]
        return next((each for each in routes if each.url == url and method in each.request_method), None)


def _changed(message: str, base: str) -> str | None:
    """Return the file that has changed, if ``message`` reports one."""
    detected = _DETECTED.fullmatch(message)
    if detected:
        return os.path.relpath(detected[1], base)
    return ".env" if message == ENV_FILE_CHANGED else None


def _rejection(fields: dict[str, Any], route: Any) -> str:
    """Return why a request was rejected: the reason, its meaning, and what to look at."""
    reason = str(fields["reason"])
    if reason == GatewayReason.NOT_FROM_GATEWAY.value:
        return f"{reason}: the request does not carry GATEWAY_SECRET"
    error = ERROR_RESPONSES[Reason(reason)]
    text = f"{reason}: {error.details or error.error}"
    if reason == Reason.INSUFFICIENT_SCOPE.value and route is not None:
        text += f" ({' '.join(scopes_of_route(route) or ())})"
    if reason == Reason.KEYS_UNAVAILABLE.value:
        text += "; python craft jwks:show reports why"
    if fields.get("kid", "-") != "-":
        text += f"  kid={fields['kid']}"
    return text


def banner(application: Any, url: str, console: str | None, reloads: bool, paint: Painter) -> Sequence[str]:
    """Return the lines that a started server prints.

    ``console`` is the console's URL with its secret; ``None`` if there is no console.
    """
    settings, config = application.make("settings"), application.make("config")
    issuers = [each.name for each in settings.issuers]
    rows = [("API", paint(url, "cyan"))]
    if console is not None:
        rows.append(("Console", paint(console, "cyan")))
    note = "development" if console is not None else "JWT_ISSUER"
    rows += [
        ("Issuer" if index == 0 else "", f"{paint(each)}  {paint(note, 'dim')}") for index, each in enumerate(issuers)
    ]
    if reloads:
        rows.append(("Reloads", paint("when a Python file or .env changes", "dim")))
    token = '"$TOKEN"' if console is None else None
    title = f"{paint(config.get('application.name') or 'Zuplo origin', 'bold', 'green')}  {paint(__version__, 'dim')}"
    return [
        "",
        f"  {title}",
        "",
        *(f"  {paint(f'{name:<9}', 'bold')}{value}" for name, value in rows),
        "",
        *(f"  {paint('$', 'dim')} {paint(line)}" for line in to_try(application, url, token)),
        "",
        paint("  Ctrl+C stops the server.", "dim"),
        "",
    ]


def to_try(application: Any, url: str, token: str | None) -> Sequence[str]:
    """Return two commands: a request that is rejected, and one with a token, for a route of this application."""
    route = _route_to_try(application)
    if route is None:
        return ["python craft protected:make Orders --path /orders", "python -m pytest"]
    scopes = " ".join(scopes_of_route(route) or ())
    command = f"python craft jwt:token --scope '{scopes}'" if scopes else "python craft jwt:token"
    bearer = token.strip('"') if token else f"$({command})"
    return [f"curl -i {url}{route.url}", f'curl -i -H "Authorization: Bearer {bearer}" {url}{route.url}']


def _route_to_try(application: Any) -> Any:
    """Return ``GET /protected`` or, if it is not there, the first guarded GET without parameters."""
    guarded = [
        route
        for route in application.make("router").routes
        if "get" in route.request_method
        and "@" not in route.url
        and "?" not in route.url
        and any(each.partition(":")[0] == GUARD for each in route.get_middlewares())
    ]
    return next((route for route in guarded if route.url == "/protected"), guarded[0] if guarded else None)
