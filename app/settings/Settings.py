"""All settings, as the rest of the application takes them."""

import re
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from app.jwks.Schedule import Policy
from app.jwks.Source import is_acceptable_url

from .IssuerSettings import IssuerSettings, read_issuers
from .Problems import BadSettings, Problems

__all__ = ["BadSettings", "Settings", "read_settings"]

ENVIRONMENTS = ("local", "testing", "production")

_NAME = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_TAKEN_HEADERS = ("host", "connection", "content-length", "content-type", "cookie", "transfer-encoding", "zp-rid")
_QUOTABLE = re.compile(r"[ !#-\[\]-~]+")
_REDIS = re.compile(r"rediss?://(?:[^\s/?#@]*@)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[0-9]*)?")
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[A-Za-z0-9._~-]+)*/?")
METADATA = "/.well-known/oauth-protected-resource"
"""The path of the metadata (RFC 9728, section 3)."""
SHORTEST_KEY = 32
"""Bytes of APP_KEY."""
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Config(Protocol):
    """Masonite's configuration: ``get("jwt.leeway")`` is ``LEEWAY`` of ``config/jwt.py``."""

    def get(self, path: str, default: Any = None) -> Any: ...


@dataclass(frozen=True)
class Settings:
    """``leeway`` is in seconds, ``jwks_max_bytes`` in bytes; ``threads`` are those of each of the ``processes``.

    ``jwks_store`` is ``memory``, ``file`` or Redis' URL, and ``key`` the secret for what is kept there.
    """

    environment: str
    issuers: tuple[IssuerSettings, ...]
    leeway: float
    header: str
    scheme: str
    realm: str
    jwks: Policy
    cache_size: int
    jwks_max_bytes: int
    jwks_store: str
    key: bytes
    port: int
    processes: int
    threads: int
    public_url: str | None
    metrics: bool
    metrics_port: int | None

    @property
    def resource_metadata(self) -> str | None:
        """Where clients find this API's metadata (RFC 9728, section 3.1); ``None`` where its URL is not set."""
        if self.public_url is None:
            return None
        parts = urlsplit(self.public_url)
        path = "" if parts.path == "/" else parts.path
        return f"{parts.scheme}://{parts.netloc}{METADATA}{path}"


_NUMBERS = {
    "JWT_LEEWAY": ("jwt.leeway", 0, 300),
    "JWKS_TTL": ("jwt.jwks_ttl", 1, 86400),
    "JWKS_MAX_STALE": ("jwt.jwks_max_stale", 0, 604800),
    "JWKS_TIMEOUT": ("jwt.jwks_timeout", 0.1, 30),
    "JWKS_COOLDOWN": ("jwt.jwks_cooldown", 1, 3600),
}
"""Variable to its place in ``config/`` and its bounds, in seconds."""
_WHOLE_NUMBERS = {
    "JWT_CACHE_SIZE": ("jwt.cache_size", 0, 16384),
    "JWKS_MAX_BYTES": ("jwt.jwks_max_bytes", 1024, 1_048_576),
    "PORT": ("server.port", 1, 65535),
    "WEB_CONCURRENCY": ("server.processes", 1, 256),
    "WEB_THREADS": ("server.threads", 1, 1024),
}


def read_settings(config: Config) -> Settings:
    """Return the settings in ``config``. Raises ``BadSettings`` with all contradictions at once."""
    problems = Problems()
    environment = _environment(config, problems)
    seconds = {name: _number(config, problems, name, *known) for name, known in _NUMBERS.items()}
    whole = {name: _number(config, problems, name, *known, whole=True) for name, known in _WHOLE_NUMBERS.items()}
    settings = Settings(
        environment=environment,
        issuers=read_issuers(config.get("jwt.issuers"), environment, problems),
        leeway=seconds["JWT_LEEWAY"],
        header=_header(config, problems),
        scheme=_scheme(config, problems),
        realm=_realm(config, problems),
        jwks=Policy(
            ttl=seconds["JWKS_TTL"],
            max_stale=seconds["JWKS_MAX_STALE"],
            timeout=seconds["JWKS_TIMEOUT"],
            cooldown=seconds["JWKS_COOLDOWN"],
        ),
        cache_size=int(whole["JWT_CACHE_SIZE"]),
        jwks_max_bytes=int(whole["JWKS_MAX_BYTES"]),
        jwks_store=_store(config, problems),
        key=_key(config, problems),
        port=int(whole["PORT"]),
        processes=int(whole["WEB_CONCURRENCY"]),
        threads=int(whole["WEB_THREADS"]),
        public_url=_public_url(config, problems),
        metrics=_boolean(config, problems, "METRICS_ENABLED", "metrics.enabled"),
        metrics_port=_metrics_port(config, problems),
    )
    problems.raise_if_any()
    return settings


def _environment(config: Config, problems: Problems) -> str:
    environment = str(config.get("application.env"))
    if environment not in ENVIRONMENTS:
        problems.add("APP_ENV", environment, f"Write {', '.join(ENVIRONMENTS[:-1])} or {ENVIRONMENTS[-1]}.")
    if _boolean(config, problems, "APP_DEBUG", "application.debug") and environment == "production":
        problems.add("APP_DEBUG", config.get("application.debug"), "Write False: debugging is never on in production.")
    return environment


def _boolean(config: Config, problems: Problems, name: str, path: str) -> bool:
    held = str(config.get(path))
    value = _BOOLEANS.get(held.lower())
    if value is None:
        problems.add(name, held, "Write True or False.")
    return bool(value)


def _public_url(config: Config, problems: Problems) -> str | None:
    held = config.get("application.public_url")
    if held and not (is_acceptable_url(held) and _PUBLIC_URL.fullmatch(held)):
        problems.add("PUBLIC_URL", held, "Write the https URL that clients call, no query; http is for loopback alone.")
    return held or None


def _metrics_port(config: Config, problems: Problems) -> int | None:
    held = config.get("metrics.port")
    if not held:
        return None
    if held == str(config.get("server.port")):
        problems.add("METRICS_PORT", held, "Write another port than PORT.")
    if _BOOLEANS.get(str(config.get("metrics.enabled")).lower()) is False:
        problems.add("METRICS_PORT", held, "Write METRICS_ENABLED=True too, or leave both out.")
    return int(_number(config, problems, "METRICS_PORT", "metrics.port", 1, 65535, whole=True))


def _number(
    config: Config, problems: Problems, name: str, path: str, low: float, high: float, whole: bool = False
) -> float:
    held = str(config.get(path)).strip()
    pattern = r"[0-9]{1,9}" if whole else r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
    value = float(held) if re.fullmatch(pattern, held) else None
    if value is None or not low <= value <= high:
        problems.add(name, held, f"Write a {'whole ' if whole else ''}number from {low} to {high}.")
        return low
    return value


def _header(config: Config, problems: Problems) -> str:
    held = str(config.get("jwt.header"))
    if not _NAME.fullmatch(held):
        problems.add("JWT_HEADER", held, "Write a header's name: letters, digits and single hyphens.")
    if held.lower() in _TAKEN_HEADERS:
        problems.add("JWT_HEADER", held, "Write another header: this one has a meaning of its own.")
    return held


def _scheme(config: Config, problems: Problems) -> str:
    held = str(config.get("jwt.scheme"))
    if held and not _NAME.fullmatch(held):
        problems.add("JWT_SCHEME", held, "Write one word, such as Bearer, or nothing for a bare token.")
    return held


def _realm(config: Config, problems: Problems) -> str:
    held = config.get("jwt.realm")
    realm = str(held or config.get("application.name"))
    if not _QUOTABLE.fullmatch(realm):
        problems.add("JWT_REALM" if held else "APP_NAME", realm, 'Write printable ASCII without " and \\.')
    return realm


def _store(config: Config, problems: Problems) -> str:
    held = str(config.get("jwt.jwks_store"))
    if held not in ("memory", "file") and not _REDIS.fullmatch(held):
        problems.add("JWKS_STORE", held, "Write memory, file, redis://host:6379/0, or rediss:// for TLS.", secret=True)
    return held


def _key(config: Config, problems: Problems) -> bytes:
    held = str(config.get("application.key") or "")
    if held and len(held.encode()) < SHORTEST_KEY:
        problems.add("APP_KEY", held, f"Write {SHORTEST_KEY} bytes or more, or nothing.", secret=True)
    elif not held and str(config.get("jwt.jwks_store")) != "memory":
        problems.add(
            "APP_KEY",
            None,
            f"Write {SHORTEST_KEY} random bytes or more, the same for all processes: JWKS_STORE needs it.",
        )
    return held.encode()
