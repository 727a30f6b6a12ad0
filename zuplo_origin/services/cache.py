"""The cache: named stores on files or in Redis (``config/cache.py``), shared by all threads and processes."""

import json
import logging
import math
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from masonite.cache import Cache as MasoniteCache

from zuplo_origin.http.errors import HttpException
from zuplo_origin.http.kernel import Provider

from .start import configured, name_of_setting, problem_with_number

log = logging.getLogger("zuplo_origin.cache")

DRIVERS = ("file", "redis")
LARGEST = 16 * 1024 * 1024
"""Bytes of the largest entry. A larger one is not written; one that another program has written is ignored."""
REMEMBER_SECONDS = 10.0
"""Time that ``remember`` waits for another thread or process that computes the same value."""
MISSING: Any = object()


class CacheUnavailable(HttpException):
    """The store cannot be reached, or does not respond in time. Responded to with 503 unless it is caught."""

    def __init__(self) -> None:
        super().__init__(503, headers={"Retry-After": "5"})


class Count(NamedTuple):
    """The state of a counter: whether this call was counted, the count, and the seconds until it is reset."""

    accepted: bool
    calls: int
    seconds: float


def encode(value: Any) -> bytes:
    """Return ``value`` as JSON. Raises ``TypeError`` for a value that would not come back as it is."""
    encoded = json.dumps(value, separators=(",", ":")).encode("ascii")
    _check_keys(value)
    if len(encoded) > LARGEST:
        raise ValueError(f"the value has {len(encoded)} bytes as JSON; the cache takes {LARGEST}")
    return encoded


def _check_keys(value: Any) -> None:
    nested = [value]
    while nested:
        each = nested.pop()
        if isinstance(each, dict):
            for key in each:
                if not isinstance(key, str):
                    raise TypeError(f"the cache takes dicts whose keys are strings, not {type(key).__name__}")
            nested += each.values()
        elif isinstance(each, (list, tuple)):
            nested += each


def decode(encoded: bytes) -> Any:
    """Return the value, or ``MISSING`` if ``encoded`` is not what ``encode`` returns."""
    if len(encoded) > LARGEST:
        return MISSING
    try:
        return json.loads(encoded)
    except (ValueError, RecursionError):
        return MISSING


def whole_number(value: Any) -> int:
    """Return a cached value as a number: an ``int``, or a string of digits. Raises ``ValueError`` for any other."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return int(value)
    raise ValueError(f"only a whole number can be incremented, not {type(value).__name__}")


def checked_seconds(seconds: Any) -> float | None:
    """Return a lifetime in seconds; ``None`` for no limit. Raises ``TypeError`` or ``ValueError`` for any other."""
    if seconds is None:
        return None
    number = float(seconds)
    if not math.isfinite(number):
        raise ValueError(f"seconds: {seconds!r}")
    return number


class Store:
    """One store, with Masonite's methods. Values are JSON: strings, numbers, booleans, None, lists, and dicts.

    ``read``, ``write`` and the others that raise ``NotImplementedError`` are atomic over threads and processes, and
    raise ``CacheUnavailable``.
    """

    def read(self, key: str) -> Any:
        """Return the value, or ``MISSING``."""
        raise NotImplementedError

    def write(self, key: str, encoded: bytes, seconds: float | None) -> None:
        raise NotImplementedError

    def write_if_missing(self, key: str, encoded: bytes, seconds: float | None) -> Any:
        """Write, and return ``MISSING``; or return the value that is there."""
        raise NotImplementedError

    def add_number(self, key: str, amount: int) -> int:
        """Add ``amount`` to the number, or to 0 if it is missing, keep its lifetime, and return the sum."""
        raise NotImplementedError

    def count(self, key: str, limit: int, seconds: float) -> Count:
        """Count a call, unless ``limit`` calls have been counted in the ``seconds`` that the first one began."""
        raise NotImplementedError

    def seconds_left(self, key: str) -> float | None:
        """Return the rest of the lifetime; ``None`` if the entry is missing or has no limit."""
        raise NotImplementedError

    def forget(self, key: str) -> bool:
        """Remove the entry, and return whether there was one."""
        raise NotImplementedError

    def flush(self) -> None:
        """Remove all entries of this store."""
        raise NotImplementedError

    def computing(self, key: str) -> AbstractContextManager[None]:
        """Return a lock for ``remember``, which waits for ``REMEMBER_SECONDS`` at most."""
        raise NotImplementedError

    def get(self, key: str, default: Any = None, **options: Any) -> Any:
        value = self.read(str(key))
        return default if value is MISSING else value

    def has(self, key: str) -> bool:
        return self.read(str(key)) is not MISSING

    def put(self, key: str, value: Any, seconds: float | None = None, **options: Any) -> Any:
        """Store ``value`` for ``seconds``, or without limit, and return it."""
        self.write(str(key), encode(value), checked_seconds(seconds))
        return value

    def forever(self, key: str, value: Any) -> Any:
        return self.put(key, value)

    def add(self, key: str, value: Any, seconds: float | None = None) -> Any:
        """Return the cached value; store ``value`` and return it if there is none."""
        found = self.write_if_missing(str(key), encode(value), checked_seconds(seconds))
        return value if found is MISSING else found

    def increment(self, key: str, amount: int = 1) -> int:
        return self.add_number(str(key), amount)

    def decrement(self, key: str, amount: int = 1) -> int:
        return self.add_number(str(key), -amount)

    def remember(self, key: str, callable: Any) -> Any:
        """Return the cached value. If there is none, one process calls ``callable(store)``, which puts it."""
        found = self.read(str(key))
        if found is not MISSING:
            return found
        with self.computing(str(key)):
            found = self.read(str(key))
            if found is MISSING:
                callable(self)
                found = self.read(str(key))
        return None if found is MISSING else found


class Cache(MasoniteCache):
    """Masonite's ``Cache``. Each store has its own driver object, whose options do not change."""

    def __init__(self, application: Any, stores: Any) -> None:
        super().__init__(application, stores)
        self._lock = threading.Lock()  # for the creation of a store
        self._stores: dict[str, Any] = {}

    def store(self, name: str | None = "default") -> Any:
        if name in (None, "default"):
            name = self.store_config["default"]
        found = self._stores.get(str(name))
        if found is None:
            with self._lock:
                found = self._stores.setdefault(str(name), self._create(str(name)))
        return found

    def _create(self, name: str) -> Any:
        options = dict(self.store_config[name])
        if options["driver"] in self.drivers:
            return super().store(name)
        if options["driver"] == "redis":
            from .cache_redis import RedisStore

            return RedisStore(name, options)
        from .cache_files import FileStore

        return FileStore(name, Path(self.application.base_path, options["location"]))

    def forever(self, *arguments: Any, store: str | None = None, **named: Any) -> Any:
        return self.store(store).forever(*arguments, **named)


def problems_of(stores: Any, own: Iterable[str] = ()) -> list[str]:
    """Return a sentence for each fault of ``STORES`` in ``config/cache.py``. ``own`` are drivers of the user's."""
    if not isinstance(stores, dict) or "default" not in stores:
        return ["config/cache.py: STORES not set; expected a dict with the stores, and the name of one as 'default'"]
    found = []
    if stores["default"] not in stores or stores["default"] == "default":
        found.append(f"config/cache.py: default: invalid value {stores['default']!r}; expected the name of a store")
    for name, options in stores.items():
        if name == "default":
            continue
        if not isinstance(options, dict):
            found.append(f"config/cache.py: {name}: invalid value {str(options)[:80]!r}; expected a dict of options")
            continue
        if name != stores["default"] and options.get("driver") == "memcached":
            continue  # Masonite's file has a store for each driver
        port = options.get("port")
        place = name_of_setting(f"config/cache.py: {name}: port", "REDIS_PORT", port)
        found += problem_with_number(place, port, 1, 65535)
        if options.get("driver") not in (*DRIVERS, *own):
            found.append(f"config/cache.py: {name}: invalid driver {options.get('driver')!r}; expected file or redis")
        elif options["driver"] == "file" and not options.get("location"):
            found.append(f"config/cache.py: {name}: location not set; expected a folder")
    return found


class CacheProvider(Provider):
    """Binds ``cache``."""

    def problems_at_start(self) -> list[str]:
        cache = self.application.make("cache")
        return problems_of(cache.store_config, cache.drivers)

    def register(self) -> None:
        stores = configured(self.application, "cache.stores")
        self.application.bind("cache", Cache(self.application, stores))
