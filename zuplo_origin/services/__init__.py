"""Masonite's services, safe under threads and processes.

Each provider is named in ``config/providers.py``: ``from zuplo_origin.services import CacheProvider``. The module of a
service is imported when its provider is: an application that does not use it does not load it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what an editor and a type checker see
    from .authorization import AuthorizationProvider as AuthorizationProvider
    from .cache import CacheProvider as CacheProvider
    from .cache import CacheUnavailable as CacheUnavailable
    from .cookies import EncryptCookies as EncryptCookies
    from .cors import CorsMiddleware as CorsMiddleware
    from .database import (
        DatabaseProvider as DatabaseProvider,
    )
    from .database import (
        DatabaseUnavailable as DatabaseUnavailable,
    )
    from .database import (
        UniqueViolation as UniqueViolation,
    )
    from .encryption import Crypt as Crypt
    from .encryption import EncryptionProvider as EncryptionProvider
    from .events import EventProvider as EventProvider
    from .hashing import HashServiceProvider as HashServiceProvider
    from .helpers import HelpersProvider as HelpersProvider
    from .helpers import compact as compact
    from .idempotency import idempotent as idempotent
    from .logs import LoggingProvider as LoggingProvider
    from .mail import MailProvider as MailProvider
    from .notifications import NotificationProvider as NotificationProvider
    from .pages import Filter as Filter
    from .pages import Page as Page
    from .pages import PageQuery as PageQuery
    from .queues import QueueProvider as QueueProvider
    from .rates import (
        CallerLimiter as CallerLimiter,
    )
    from .rates import (
        RateProvider as RateProvider,
    )
    from .rates import (
        ThrottleRequestsMiddleware as ThrottleRequestsMiddleware,
    )
    from .schedule import ScheduleProvider as ScheduleProvider
    from .storage import StorageProvider as StorageProvider
    from .validation import ValidationProvider as ValidationProvider
    from .views import ViewProvider as ViewProvider

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
