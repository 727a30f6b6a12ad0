"""Parts of several services: their configuration, copies of objects, and the log ids of a job or a task."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from typing import Any, NoReturn, TypeVar

from zuplo_origin.http.requests import REQUEST_ID, TRACE_ID
from zuplo_origin.settings import CANNOT_START

from .start import configured

Object = TypeVar("Object")


def stop(sentence: str) -> NoReturn:
    """Print why the application cannot start, and exit."""
    print(f"Cannot start: {sentence}", file=sys.stderr)
    raise SystemExit(CANNOT_START)


def read(application: Any, path: str) -> dict[str, Any]:
    """Return a copy of a dict of the configuration: ``mail.drivers`` is ``DRIVERS`` in ``config/mail.py``.

    Exit if there is none.
    """
    found = configured(application, path)
    if not isinstance(found, dict):
        file, _, name = path.partition(".")
        stop(f"config/{file}.py has no dict {name.upper()}; see the page of the service that docs/services.md names")
    return deepcopy(found)


def own_copy(value: Object) -> Object:
    """Return a copy of an object, with copies of its lists, dicts and sets."""
    copied = copy(value)
    for name, each in list(vars(copied).items()):
        if type(each) in (list, dict, set):
            setattr(copied, name, each.copy())
    return copied


@contextmanager
def own_log_id() -> Iterator[None]:
    """Give the log lines of a job or a task an id of their own."""
    outer_id, outer_trace = REQUEST_ID.set(secrets.token_hex(16)), TRACE_ID.set(None)
    try:
        yield
    finally:
        REQUEST_ID.reset(outer_id)
        TRACE_ID.reset(outer_trace)
