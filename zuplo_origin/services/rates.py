"""Rate limits over threads and processes: the limiter, the limiter ``caller``, and the middleware ``throttle``."""

import hashlib
import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from masonite.exceptions import ThrottleRequestsException
from masonite.middleware import Middleware
from masonite.rates import Limit, Limiter
from masonite.rates import RateLimiter as MasoniteRateLimiter

from zuplo_origin.http.kernel import Provider

from .cache import Store
from .overlay import bind_overlay
from .start import configured, is_server, stop

_LIMIT = re.compile(r"[0-9]{1,9}/(?:minute|hour|day)")
_EXPECTED = "expected a number and minute, hour or day, as in 30/minute"
CALLER_LIMIT = "60/minute"
"""The limit of ``caller``, unless ``CALLER`` in ``config/rates.py`` says otherwise."""


class CallerLimiter(Limiter):
    """Limits each caller: a token's issuer and ``sub``, or the address of a request without a token."""

    def __init__(self, limit: str) -> None:
        super().__init__()
        if not _LIMIT.fullmatch(limit):
            raise ValueError(f"invalid limit {limit!r}; {_EXPECTED}")
        self._limit = limit

    def allow(self, request: Any) -> Any:
        if request.user() is None:
            key = f"ip {request.ip()}"
        else:
            key = f"caller {request.claim('iss')!r} {request.claim('sub')!r}"
        return Limit.from_str(self._limit).by(key)


class RateLimiter(MasoniteRateLimiter):
    """Masonite's ``RateLimiter`` over atomic counters of the cache: of concurrent attempts, exactly the limit succeeds.

    A window begins with its first attempt, and lasts for the delay.
    """

    @property
    def cache(self) -> Store:
        store: Store = self.application.make("cache").store()
        return store

    def copy(self) -> "RateLimiter":
        copied = type(self)(self.application)
        copied.limiters = dict(self.limiters)
        return copied

    def take(self, key: str, max_attempts: int, delay: float) -> bool:
        """Count an attempt, and return ``True``; return ``False`` if ``max_attempts`` are counted already."""
        return self.cache.count(_name(key), max_attempts, delay).accepted

    def attempts(self, key: str) -> int:
        value = self.cache.get(_name(key), 0)
        return value if isinstance(value, int) else 0

    def attempt(self, key: str, callback: Callable[[], Any], max_attempts: int, delay: int = 60) -> Any:
        """Return the result of ``callback``; ``False``, without a call, if ``max_attempts`` are counted already."""
        return callback() if self.take(key, max_attempts, delay) else False

    def too_many_attempts(self, key: str, max_attempts: int) -> bool:
        return self.attempts(key) >= max_attempts

    def hit(self, key: str, delay: int) -> int:
        """Count an attempt in any case, and return their number."""
        return self.cache.count(_name(key), 2**53, delay).calls

    def reset_attempts(self, key: str) -> bool:
        return self.cache.forget(_name(key))

    def clear(self, key: str) -> None:
        self.cache.forget(_name(key))

    def available_at(self, key: str) -> int:
        """Return the time, in seconds since the epoch, at which attempts are possible again; 0 if they are now."""
        left = self.cache.seconds_left(_name(key))
        return math.ceil(time.time() + left) if left else 0

    def available_in(self, key: str) -> int:
        return math.ceil(self.cache.seconds_left(_name(key)) or 0)

    def remaining(self, key: str, max_attempts: int) -> int:
        return max(0, max_attempts - self.attempts(key))


def _name(key: Any) -> str:
    text = key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)
    return f"rate:{text}"


class ThrottleRequestsMiddleware(Middleware):
    """Registered as ``throttle``. ``throttle:30/minute`` limits all requests together, ``throttle:caller`` a caller."""

    @staticmethod
    def check_arguments(arguments: tuple[str, ...]) -> None:
        if len(arguments) != 1:
            raise ValueError("expected one limit, as in throttle:30/minute, or the name of a limiter")
        if "/" in arguments[0] and not _LIMIT.fullmatch(arguments[0]):
            raise ValueError(_EXPECTED)

    @classmethod
    def at_start(cls, application: Any) -> None:
        """Exit if the counters have no cache, or a route names an unknown limiter, or one that needs ``jwt`` before."""
        if not is_server(application):
            return
        if not (application.has("cache") and application.has("rate")):
            stop(["throttle: needs CacheProvider and RateProvider of zuplo_origin.services in config/providers.py"])
        limiters, problems = application.make("rate").limiters, []
        for url, name, guarded_later in _throttled(application.make("router").routes, application.make("middleware")):
            if "/" not in name and name not in limiters:
                known = ", ".join(sorted(limiters))
                problems.append(f"{url}: throttle:{name}: unknown limiter; expected one of {known}")
            elif guarded_later and isinstance(limiters.get(name), CallerLimiter):
                problems.append(f"{url}: throttle:{name}: expected after jwt, which verifies who the caller is")
        stop(problems)

    def before(self, request: Any, response: Any, limit: str) -> Any:
        rate: RateLimiter = request.app.make("rate")
        respond = None
        if "/" in limit:
            allowed = Limit.from_str(limit)
        else:
            limiter = rate.get_limiter(limit)
            respond, allowed = getattr(limiter, "get_response", None), limiter.allow(request)
        if allowed.is_unlimited():
            return request
        key = hashlib.sha256(f"{limit}\0{allowed.key}".encode("utf-8", "surrogatepass")).hexdigest()
        counted = rate.cache.count(_name(key), allowed.max_attempts, allowed.delay * 60)
        headers = {
            "X-RateLimit-Limit": str(allowed.max_attempts),
            "X-RateLimit-Remaining": str(max(0, allowed.max_attempts - counted.calls)),
        }
        if counted.accepted:
            request.rate_limits = [*getattr(request, "rate_limits", []), headers]
            return request
        seconds = max(1, math.ceil(counted.seconds))
        headers |= {"Retry-After": str(seconds), "X-RateLimit-Reset": str(math.ceil(time.time() + counted.seconds))}
        if respond is None:
            raise ThrottleRequestsException(headers=headers)
        return respond(request, response, headers)

    def after(self, request: Any, response: Any, limit: str) -> Any:
        """Set the headers, also of an error; of several limits, those of the one that is reached first."""
        limits = getattr(request, "rate_limits", None)
        if limits:
            response.with_headers(min(limits, key=lambda headers: int(headers["X-RateLimit-Remaining"])))
        return request


def _throttled(routes: Any, middleware: Any) -> Iterator[tuple[str, str, bool]]:
    """Yield each limit that a route names: URL, limit, and whether ``jwt`` comes after it."""
    for route in routes:
        specifications = route.get_middlewares()
        for at, specification in enumerate(specifications):
            classes, arguments = middleware.classes_for(specification)
            if arguments and any(issubclass(each, ThrottleRequestsMiddleware) for each in classes):
                yield route.url, arguments[0], any(each.partition(":")[0] == "jwt" for each in specifications[at:])


class RateProvider(Provider):
    """Binds ``rate``, with the limiter ``caller``. It needs ``CacheProvider``."""

    def register(self) -> None:
        limit = configured(self.application, "rates.caller") or CALLER_LIMIT
        limiter = RateLimiter(self.application)
        try:
            limiter.register("caller", CallerLimiter(str(limit)))
        except ValueError as error:
            stop([f"config/rates.py: CALLER: {error}"])
        bind_overlay(self.application, "rate", limiter)
