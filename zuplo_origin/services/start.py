"""The start of the application: read ``config/``, and stop if it is invalid."""

import os
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


def sends_mail(application: Any) -> bool:
    """Return whether the process runs the user's controllers, jobs or tasks, and not another command."""
    return is_server(application) or sys.argv[1:2] in (["queue:work"], ["schedule:run"])


def name_of_setting(place: str, variable: str, value: Any) -> str:
    """Return ``variable`` if ``value`` comes from it, otherwise ``place``, which is in a file of the configuration."""
    return variable if value and os.environ.get(variable) == str(value) else place


def problem_with_number(
    place: str, value: Any, low: float, high: float | None = None, whole: bool = True
) -> Iterator[str]:
    """Yield a sentence if ``value`` is set, and is not a number from ``low`` to ``high``."""
    if value in (None, ""):
        return
    try:
        number = int(str(value)) if whole else float(value)
    except (TypeError, ValueError):
        number = low - 1
    if isinstance(value, bool) or not low <= number <= (float("inf") if high is None else high):
        expected = f"a {'whole ' if whole else ''}number from {low:g}" + (f" to {high:g}" if high else "")
        yield f"{place}: invalid value {str(value)[:80]!r}; expected {expected}"


def problem_with_connection(application: Any, place: str, name: Any) -> Iterator[str]:
    """Yield a sentence if ``config/database.py`` has no connection ``name``."""
    databases = configured(application, "database.databases")
    if name in (None, "default") or not isinstance(databases, dict):
        return
    names = [each for each in databases if each != "default"]
    if name not in names:
        expected = f"expected a connection of config/database.py: {', '.join(names)}"
        yield f"{place}: invalid value {str(name)[:80]!r}; {expected}"


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
    if f"{__package__}.database" in sys.modules and application.has("database") and application.has("metrics"):
        from .connections import time_statements

        details = application.make("database").get_connection_details()
        time_statements(application.make("metrics").statement_timer, details)
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
    for provider in application.get_providers():  # when all have registered: they may add drivers to a service
        if hasattr(provider, "problems_at_start"):
            stop(provider.problems_at_start())
    if is_server(application):
        stop(problems_with_guard(application))


def _lacks_database_provider(application: Any) -> Iterator[str]:
    add = "add DatabaseProvider of zuplo_origin.services to config/providers.py"
    if application.has("config") and application.make("config").get("database.db") is not None:
        yield f"config/database.py: the ORM is not safe under threads by itself; {add}, in place of ORMProvider."
    elif application.has("settings") and application.make("settings").ready_database:
        yield f"READY_DATABASE: invalid value 'True'; {add}."
