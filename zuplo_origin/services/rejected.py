"""Providers and middleware of Masonite with which the application does not start, and what to use instead.

They keep the state of one request in an object of the process, or need sessions, or replace a part of
``zuplo_origin.http``. ``docs/services.md`` describes each service.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from .start import stop

_OURS = "not safe under threads; import {name} from zuplo_origin.services instead"
_NO_SESSIONS = "this application has no sessions; keep a caller's state in the cache or the database"
_NO_LOGIN = "the gateway authenticates callers; guard routes with .middleware('jwt'), and read request.user()"

PROVIDERS = {
    "ApiProvider": "remove it; the gateway issues the tokens that this application accepts",
    "AuthenticationProvider": f"remove it; {_NO_LOGIN}",
    "AuthorizationProvider": _OURS,
    "BroadcastProvider": "it needs sessions; remove it, and send events to your broadcasting service from a job",
    "CacheProvider": _OURS,
    "ConfigurationProvider": "remove it; Kernel.py reads config/",
    "ExceptionProvider": "remove it; app/providers/ExceptionProvider.py binds the handler of exceptions",
    "FrameworkProvider": "remove it; its part is done by zuplo_origin.http",
    "HashServiceProvider": _OURS,
    "HelpersProvider": _OURS,
    "LoggingProvider": _OURS,
    "MailProvider": _OURS,
    "NotificationProvider": _OURS,
    "QueueProvider": _OURS,
    "RateProvider": _OURS,
    "RouteProvider": "remove it; its part is done by zuplo_origin.http",
    "ScheduleProvider": _OURS,
    "SessionProvider": f"remove it; {_NO_SESSIONS}",
    "StorageProvider": _OURS,
    "ViewProvider": _OURS,
    "WhitenoiseProvider": "remove it; serve static files with a CDN, or with response.download",
}
"""Class of Masonite to the rest of the sentence that is printed."""

MIDDLEWARE = {
    "ClearDumpsBetweenRequestsMiddleware": "remove it; dumps are not shown in responses",
    "CorsMiddleware": _OURS,
    "EncryptCookies": _OURS,
    "GuardMiddleware": f"remove it; {_NO_LOGIN}",
    "IpMiddleware": "it trusts headers that any client can send; set CLIENT_IP_HEADER, and read request.ip()",
    "LoadUserMiddleware": f"remove it; {_NO_LOGIN}",
    "MaintenanceModeMiddleware": "remove it; stop requests at the gateway",
    "SessionMiddleware": f"remove it; {_NO_SESSIONS}",
    "ShareErrorsInSessionMiddleware": f"remove it; {_NO_SESSIONS}",
    "ThrottleRequestsMiddleware": _OURS,
    "VerifyCsrfToken": "remove it; tokens are not sent by browsers on their own, so requests cannot be forged",
}
"""Class of Masonite to the rest of the sentence that is printed."""

_CALLED = {
    "FrameworkProvider": ("register", "boot"),
    "HelpersProvider": ("register", "boot"),
    "RouteProvider": ("register", "boot"),
}
"""Providers whose ``boot`` does not work either. The ``boot`` of the others does nothing."""


def stop_if_rejected(providers: Iterable[Any], middleware: Iterable[Any]) -> None:
    """Print a sentence for each class with which the application does not start, and exit; return if there is none."""
    found = [*_sentences(providers, PROVIDERS, ("register",)), *_sentences(middleware, MIDDLEWARE, ("before", "after"))]
    count = "1 provider or middleware" if len(found) == 1 else f"{len(found)} providers or middleware"
    stop(found, f"Cannot start: {count} of Masonite cannot be used.")


def _sentences(classes: Iterable[Any], table: dict[str, str], methods: tuple[str, ...]) -> Iterator[str]:
    seen = set()
    for each in classes:
        for origin in _origins(each, table, methods):
            name = f"{each.__module__}.{each.__qualname__}"
            if each is not origin:
                name += f" (a subclass of {origin.__module__}.{origin.__qualname__})"
            sentence = f"{name}: {table[origin.__name__].format(name=origin.__name__)}"
            if sentence not in seen:
                seen.add(sentence)
                yield sentence


def _origins(provider: Any, table: dict[str, str], methods: tuple[str, ...]) -> list[type]:
    """Return a list with the class in ``table`` whose methods ``provider`` runs; an empty list if there is none."""
    for base in getattr(provider, "__mro__", ()):
        if base.__name__ in table and base.__module__.startswith("masonite."):
            called = _CALLED.get(base.__name__, methods)
            return [base] if any(base in _run(provider, method) for method in called) else []
    return []


def _run(provider: type, method: str) -> Iterator[type]:
    """Yield the classes whose ``method`` runs: the first that defines it, and the next while one calls ``super()``."""
    for base in provider.__mro__:
        if method in vars(base):
            yield base
            code = getattr(vars(base)[method], "__code__", None)
            if code is None or "__class__" not in code.co_freevars:
                return
