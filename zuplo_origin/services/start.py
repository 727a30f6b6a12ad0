"""The start of the application: read ``config/``, and stop if it is invalid."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from zuplo_origin.settings import CANNOT_START


def configured(application: Any, path: str) -> Any:
    """Return what ``config/`` has at ``path``, as it was written there. Masonite's ``config`` wraps dicts."""
    value = application.make("config").get(path)
    return value.to_dict() if hasattr(value, "to_dict") else value


def stop(problems: Iterable[str], title: str | None = None) -> None:
    """Print ``title`` and ``problems``, and exit; return if there are none. One problem without a title is one line."""
    found = list(problems)
    if not found:
        return
    lines = [f"Cannot start: {found[0]}"] if title is None and len(found) == 1 else [title or "Cannot start.", *found]
    print("\n  ".join(lines), file=sys.stderr)
    raise SystemExit(CANNOT_START)


def is_server(application: Any) -> bool:
    """Return whether the process serves requests: a command such as ``migrate`` needs no complete configuration."""
    return not application.is_running_in_console() or sys.argv[1:2] == ["serve"]


def complete(application: Any, middleware: Iterable[Any]) -> None:
    """Make safe what the providers have bound, and let each ``middleware`` with ``at_start`` check its configuration.

    Exit if the ORM is configured without the provider that makes it safe.
    """
    if "validator" in application.objects.shared:
        from .validation import isolate_validator

        isolate_validator(application)
    if "event" in application.objects.shared:
        from .events import isolate_events

        isolate_events(application)
    if "masonite.helpers.compact" in sys.modules:
        from .helpers import mend_compact

        mend_compact()
    if f"{__package__}.idempotency" in sys.modules:
        from .idempotency import check_store

        check_store(application)
    if not application.has("database") and is_server(application):
        stop(_lacks_database_provider(application))
    from zuplo_origin.faults import problems_with_guard, problems_with_middleware

    middleware = list(middleware)
    stop(problems_with_middleware(middleware))
    for each in middleware:
        if hasattr(each, "at_start"):
            each.at_start(application)
    if is_server(application):
        stop(problems_with_guard(application))


def _lacks_database_provider(application: Any) -> Iterator[str]:
    add = "add DatabaseProvider of zuplo_origin.services to config/providers.py"
    if application.has("config") and application.make("config").get("database.db") is not None:
        yield f"config/database.py: the ORM is not safe under threads by itself; {add}, in place of ORMProvider."
    elif application.has("settings") and application.make("settings").ready_database:
        yield f"READY_DATABASE: invalid value 'True'; {add}."
