"""Masonite's services, safe under threads and processes.

Each provider is named in ``config/providers.py``: ``from zuplo_origin.services import CacheProvider``. The module of a
service is imported when its provider is: an application that does not use it does not load it.
"""

import importlib
from typing import Any

MODULES = {
    "AuthorizationProvider": "authorization",
    "CacheProvider": "cache",
    "CacheUnavailable": "cache",
    "CallerLimiter": "rates",
    "CorsMiddleware": "cors",
    "Crypt": "encryption",
    "DatabaseProvider": "database",
    "DatabaseUnavailable": "database",
    "EncryptCookies": "cookies",
    "EncryptionProvider": "encryption",
    "EventProvider": "events",
    "Filter": "pages",
    "HashServiceProvider": "hashing",
    "HelpersProvider": "helpers",
    "LoggingProvider": "logs",
    "MailProvider": "mail",
    "NotificationProvider": "notifications",
    "Page": "pages",
    "PageQuery": "pages",
    "QueueProvider": "queues",
    "RateProvider": "rates",
    "ScheduleProvider": "schedule",
    "StorageProvider": "storage",
    "ThrottleRequestsMiddleware": "rates",
    "UniqueViolation": "database",
    "ValidationProvider": "validation",
    "ViewProvider": "views",
    "compact": "helpers",
    "idempotent": "idempotency",
}
"""Names that users import from here, to the module of this package that defines them."""


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *MODULES]
