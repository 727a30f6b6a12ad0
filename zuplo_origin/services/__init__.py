"""Masonite's services, safe under threads and processes.

Each provider is named in ``config/providers.py``: ``from zuplo_origin.services import CacheProvider``. The module of a
service is imported when its provider is: an application that does not use it does not load it.
"""

import importlib
from typing import Any

PROVIDERS: dict[str, str] = {
    "DatabaseProvider": "database",
    "DatabaseUnavailable": "database",
    "UniqueViolation": "database",
}
"""Names that users import from here, to the module of this package that defines them."""


def __getattr__(name: str) -> Any:
    if name not in PROVIDERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{PROVIDERS[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *PROVIDERS]
