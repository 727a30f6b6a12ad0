"""A cache store in Redis, shared by all machines. A module of its own: importing redis takes memory."""

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from .cache import LARGEST, MISSING, REMEMBER_SECONDS, CacheUnavailable, Count, Store, decode, whole_number

log = logging.getLogger("zuplo_origin.cache")

TIMEOUT = 0.5
"""Seconds for a connection, and for a response, unless ``options`` of the store says otherwise."""
PAUSE = 2.0
"""Seconds after a failure in which no operation is attempted, so that threads do not wait for a server that hangs."""

_COUNT = """
local left = redis.call('PTTL', KEYS[1])
local count = 0
if left > 0 then count = tonumber(redis.call('GET', KEYS[1])) or 0 else left = tonumber(ARGV[2]) end
if count >= tonumber(ARGV[1]) then return {0, count, left} end
redis.call('SET', KEYS[1], string.format('%d', count + 1), 'PX', left)
return {1, count + 1, left}
"""
_INCREMENT = """
local text = redis.call('GET', KEYS[1])
local digits = text and string.match(text, '^"(-?%d+)"$')
if digits then redis.call('SET', KEYS[1], digits, 'KEEPTTL') end
return redis.call('INCRBY', KEYS[1], ARGV[1])
"""
_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisStore(Store):
    """Entries under ``<name>:cache:<key>``, as in Masonite. ``flush`` removes these alone."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._name = name
        prefix = options.get("name")
        self._prefix = f"{prefix}:cache:" if prefix else "cache:"
        self._lifetime = options.get("timeout")
        given = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, **options.get("options", {})}
        self._client = Redis(
            **{"retry": Retry(NoBackoff(), 0), **given},
            host=options.get("host") or "127.0.0.1",
            port=int(options.get("port") or 6379),
            password=options.get("password") or None,
        )
        self._count = self._client.register_script(_COUNT)
        self._increment = self._client.register_script(_INCREMENT)
        self._unlock = self._client.register_script(_UNLOCK)
        self._down_until = 0.0

    def _key(self, key: str) -> bytes:
        return (self._prefix + key).encode("utf-8", "surrogatepass")

    def _run(self, operation: Callable[[], Any]) -> Any:
        """Return the result of ``operation``. Raises ``CacheUnavailable``."""
        if time.monotonic() < self._down_until:
            raise CacheUnavailable
        try:
            return operation()
        except ResponseError as error:
            if "WRONGTYPE" in str(error) or "not an integer" in str(error) or "overflow" in str(error):
                raise
            failure: Exception = error
        except (RedisError, OSError) as error:
            failure = error
        self._down_until = time.monotonic() + PAUSE
        fields = {"store": self._name, "error": type(failure).__name__}
        log.error("cache_unavailable", extra={"fields": fields})
        raise CacheUnavailable

    def read(self, key: str) -> Any:
        try:
            encoded = self._run(lambda: self._client.getrange(self._key(key), 0, LARGEST))
        except ResponseError:  # of another type: not written here
            return MISSING
        return decode(encoded) if encoded else MISSING

    def _lifetime_of(self, seconds: float | None) -> int | None:
        """Return milliseconds; ``None`` for no limit."""
        seconds = self._lifetime if seconds is None else seconds
        return None if seconds is None else round(float(seconds) * 1000)

    def write(self, key: str, encoded: bytes, seconds: float | None) -> None:
        milliseconds = self._lifetime_of(seconds)
        if milliseconds is not None and milliseconds <= 0:
            self.forget(key)
        else:
            self._run(lambda: self._client.set(self._key(key), encoded, px=milliseconds))

    def write_if_missing(self, key: str, encoded: bytes, seconds: float | None) -> Any:
        milliseconds = self._lifetime_of(seconds)
        if milliseconds is not None and milliseconds <= 0:
            return self.read(key)
        for _ in range(3):
            if self._run(lambda: self._client.set(self._key(key), encoded, px=milliseconds, nx=True)):
                return MISSING
            found = self.read(key)
            if found is not MISSING:
                return found
        self.write(key, encoded, seconds)  # it is there, and cannot be read
        return MISSING

    def add_number(self, key: str, amount: int) -> int:
        try:
            return int(self._run(lambda: self._increment(keys=[self._key(key)], args=[amount])))
        except ResponseError:
            value = self.read(key)
            if value is MISSING:
                raise ValueError("only a whole number can be incremented") from None
            whole_number(value)
            raise ValueError("the number is too large") from None

    def count(self, key: str, limit: int, seconds: float) -> Count:
        arguments = [limit, max(1, round(seconds * 1000))]
        try:
            found = self._run(lambda: self._count(keys=[self._key(key)], args=arguments))
        except ResponseError:  # of another type: not written here
            self.forget(key)
            found = self._run(lambda: self._count(keys=[self._key(key)], args=arguments))
        return Count(bool(found[0]), int(found[1]), found[2] / 1000)

    def seconds_left(self, key: str) -> float | None:
        milliseconds = self._run(lambda: self._client.pttl(self._key(key)))
        return milliseconds / 1000 if milliseconds >= 0 else None

    def forget(self, key: str) -> bool:
        return bool(self._run(lambda: self._client.delete(self._key(key))))

    def flush(self) -> None:
        pattern = "".join(f"\\{each}" if each in "*?[]\\" else each for each in self._prefix) + "*"

        def remove() -> None:
            for key in self._client.scan_iter(match=pattern, count=1000):
                self._client.delete(key)

        self._run(remove)

    @contextmanager
    def computing(self, key: str) -> Iterator[None]:
        name, token = b"lock:" + self._key(key), secrets.token_hex(16)
        end, pause = time.monotonic() + REMEMBER_SECONDS, 0.005
        lifetime = round(REMEMBER_SECONDS * 1000)
        while time.monotonic() < end and not self._run(lambda: self._client.set(name, token, px=lifetime, nx=True)):
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        try:
            yield
        finally:
            self._run(lambda: self._unlock(keys=[name], args=[token]))
