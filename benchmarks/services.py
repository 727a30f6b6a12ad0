"""Count what services mix up or count wrong, and measure what they cost: ``python -m benchmarks.services``

``--requests N`` (100,000): 16 clients send them over 16 connections to the production server, with two processes of
eight threads: entries of the cache, counters, limits, gates, validation and events, on files and in Redis. Then a few
thousand to the same server with Masonite's own cache, rate limiter and middleware. Exits with 1 if the services of this
application mix anything, count wrong, or fail. ``--cost`` prints the time of each service in a request instead.

Needs Redis (the Debian package redis-server).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from package_tests.support.redis import RedisServer
from package_tests.support.services import ServicesServer, hammer

STOCK_PROVIDERS = """
from masonite.cache import Cache
from masonite.cache.drivers import FileDriver, RedisDriver
from masonite.rates import RateLimiter
from app.providers import PROVIDERS as OWN
from app.providers.ServicesProvider import ServicesProvider
from config.cache import STORES
from zuplo_origin.http.kernel import Provider
from zuplo_origin.services import (
    AuthorizationProvider, EncryptionProvider, EventProvider, HashServiceProvider, HelpersProvider, LoggingProvider
)


class StockProvider(Provider):
    def register(self):
        cache = Cache(self.application).set_configuration(STORES)
        cache.add_driver("file", FileDriver(self.application))
        cache.add_driver("redis", RedisDriver(self.application))
        self.application.bind("cache", cache)
        self.application.bind("rate", RateLimiter(self.application))


PROVIDERS = [
    *OWN, AuthorizationProvider, EncryptionProvider, EventProvider, HashServiceProvider, HelpersProvider,
    LoggingProvider, StockProvider, ServicesProvider,
]
"""
STOCK_THROTTLE = """
from masonite.middleware import ThrottleRequestsMiddleware as Masonites


class ThrottleRequestsMiddleware:
    def before(self, *arguments):
        return Masonites().before(*arguments)

    def after(self, request, *arguments):
        return request
"""
LIMIT = 40
PATHS: dict[str, tuple[Callable[[str, int], str], Callable[[str, int, Any], bool]]] = {
    "gates": (
        lambda user, n: f"/gate/{user}",
        lambda user, _, body: body == {"gate": True, "policy": True, "owner": user},
    ),
    "validation": (lambda user, n: "/validator", lambda user, _, body: body == {"user": user}),
    "events": (lambda user, n: "/event", lambda user, _, body: body == {"user": user}),
    "entries": (lambda user, n: "/entry", lambda user, _, body: bool(body) and body.get("user") == user),
    "counters": (lambda user, n: f"/count/n{n % 8}", lambda _, status, __: status == 200),
    "limits": (lambda user, n: "/limited/account", lambda _, status, __: status in (200, 429)),
}


def measure(title: str, server: ServicesServer, requests: int) -> int:
    """Return the number of responses that are wrong or failed, and of calls that were counted wrong."""
    total = 0
    with server:
        for name, (path, is_right) in PATHS.items():
            began = time.monotonic()
            seen = hammer(server, requests // len(PATHS), path, is_right)
            wrong = seen["wrong"]
            if name == "counters":
                values = [server.json(f"/value/n{n}")[1].get("value") or 0 for n in range(8)]
                wrong += abs(requests // len(PATHS) - sum(int(value) for value in values))
            elif name == "limits":
                wrong += abs(seen[200] - 4 * LIMIT)
            seconds = time.monotonic() - began
            print(f"{title}: {name}: {wrong} wrong, {seen['failed']} failed, {seconds:.0f} s", flush=True)
            total += wrong + seen["failed"]
    server.issuer.close()
    return total


def stock(folder: Path, **settings: str) -> ServicesServer:
    """Return the server with Masonite's own cache, rate limiter and middleware."""

    class Stock(ServicesServer):
        def prepare(self, project: Path) -> None:
            (project / "config/providers.py").write_text(STOCK_PROVIDERS)
            (project / "app/middlewares/Throttle.py").write_text(STOCK_THROTTLE)
            kernel = project / "Kernel.py"
            text = kernel.read_text().replace("EncryptCookies, ThrottleRequestsMiddleware", "EncryptCookies")
            kernel.write_text("from app.middlewares.Throttle import ThrottleRequestsMiddleware\n" + text)
            (project / "storage/framework/cache").mkdir(parents=True, exist_ok=True)

    return Stock(folder, **settings)


def cost() -> None:
    """Print the time that one request takes with each service, sent one after the other."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as redis:
        for store in ("file", "redis"):
            place = Path(folder) / store
            place.mkdir()
            settings = {"CACHE_STORE": "local" if store == "file" else "redis", "REDIS_PORT": str(redis.port)}
            with ServicesServer(place, **settings) as server:
                for path in ("/health/live", "/protected", "/gate/alice", "/validator", "/event", "/entry", "/count/a"):
                    print(f"{store}: {path}: {median(server, path):.0f} µs")
                for path in ("/limited/caller", "/log", "/sign", "/cookie", "/hash"):
                    print(f"{store}: {path}: {median(server, path):.0f} µs")
            server.issuer.close()


def median(server: ServicesServer, path: str, count: int = 400) -> float:
    import http.client
    import statistics

    connection, headers, times = http.client.HTTPConnection("127.0.0.1", server.port), server.headers("alice"), []
    for _ in range(count):
        began = time.perf_counter()
        connection.request("GET", path, headers=headers)
        connection.getresponse().read()
        times.append(time.perf_counter() - began)
    connection.close()
    return statistics.median(times) * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--cost", action="store_true")
    options = parser.parse_args()
    if options.cost:
        cost()
        return 0
    total, few = 0, min(options.requests, 6000)
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name)) as redis:
        on_redis = {"CACHE_STORE": "redis", "REDIS_PORT": str(redis.port)}
        for title, settings in (("files", {}), ("redis", on_redis)):
            for kind in ("ours", "stock"):
                redis.client.flushall()
                folder = Path(name) / f"{kind}-{title}"
                folder.mkdir()
                if kind == "ours":
                    total += measure(f"{kind}, {title}", ServicesServer(folder, **settings), options.requests)
                else:
                    measure(f"{kind}, {title}", stock(folder, **settings), few)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
