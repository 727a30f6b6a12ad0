"""A store for the processes of many machines. It is a module of its own: importing redis takes memory."""

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PREFIX = "zuplo-origin:jwks:"
TIMEOUT = 0.4
"""Seconds for a connection, and for a response."""


class RedisStore:
    """The Redis server at ``url``: ``redis://[user:password@]host[:port][/database]``, or ``rediss://`` with TLS."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 1)
        )

    def get(self, name: str, longest: int) -> bytes | None:
        value = self._client.getrange(PREFIX + name, 0, longest - 1)
        return value if isinstance(value, bytes) and value else None

    def put(self, name: str, value: bytes, seconds: float) -> None:
        self._client.set(PREFIX + name, value, px=_milliseconds(seconds))

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        return bool(self._client.set(PREFIX + name, value, px=_milliseconds(seconds), nx=True))

    def delete(self, name: str) -> None:
        self._client.delete(PREFIX + name)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
