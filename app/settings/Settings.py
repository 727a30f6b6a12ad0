"""All settings, as the rest of the application takes them."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from app.jwks.Schedule import Policy

from . import values
from .IssuerSettings import IssuerSettings, read_issuers
from .Problems import BadSettings, Problems
from .tls import Tls, read_tls
from .values import Config

__all__ = ["BadSettings", "Settings", "read_settings"]

METADATA = "/.well-known/oauth-protected-resource"
"""The path of the metadata (RFC 9728, section 3)."""


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
    body_seconds: float
    host: str
    keep_alive: float
    drain_seconds: float
    streams: int
    max_connections: int
    upload_folder: str | None
    send_seconds: float
    tls: Tls
    health_port: int | None
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
    "KEEP_ALIVE": ("server.keep_alive", 1, 3600),
    "SEND_TIMEOUT": ("server.send_timeout", 1, 3600),
    "SHUTDOWN_DRAIN": ("server.shutdown_drain", 0, 60),
    "BODY_TIMEOUT": ("server.body_timeout", 1, 3600),
    "JWKS_COOLDOWN": ("jwt.jwks_cooldown", 1, 3600),
}
"""Variable to its place in ``config/`` and its bounds, in seconds."""
_WHOLE_NUMBERS = {
    "JWT_CACHE_SIZE": ("jwt.cache_size", 0, 16384),
    "JWKS_MAX_BYTES": ("jwt.jwks_max_bytes", 1024, 1_048_576),
    "PORT": ("server.port", 1, 65535),
    "WEB_CONCURRENCY": ("server.processes", 1, 256),
    "WEB_THREADS": ("server.threads", 1, 1024),
    "WEB_STREAMS": ("server.streams", 1, 1024),
    "MAX_CONNECTIONS": ("server.max_connections", 16, 65536),
}


def read_settings(config: Config) -> Settings:
    """Return the settings in ``config``. Raises ``BadSettings`` with all contradictions at once."""
    problems = Problems()
    environment = values.environment(config, problems)
    seconds = {name: values.number(config, problems, name, *known) for name, known in _NUMBERS.items()}
    whole = {name: values.number(config, problems, name, *known, whole=True) for name, known in _WHOLE_NUMBERS.items()}
    settings = Settings(
        environment=environment,
        issuers=read_issuers(config.get("jwt.issuers"), environment, problems),
        leeway=seconds["JWT_LEEWAY"],
        header=values.header(config, problems),
        scheme=values.scheme(config, problems),
        realm=values.realm(config, problems),
        jwks=Policy(
            ttl=seconds["JWKS_TTL"],
            max_stale=seconds["JWKS_MAX_STALE"],
            timeout=seconds["JWKS_TIMEOUT"],
            cooldown=seconds["JWKS_COOLDOWN"],
        ),
        cache_size=int(whole["JWT_CACHE_SIZE"]),
        jwks_max_bytes=int(whole["JWKS_MAX_BYTES"]),
        jwks_store=values.store(config, problems),
        key=values.key(config, problems),
        port=int(whole["PORT"]),
        processes=int(whole["WEB_CONCURRENCY"]),
        threads=int(whole["WEB_THREADS"]),
        body_seconds=seconds["BODY_TIMEOUT"],
        host=values.host(config, problems),
        keep_alive=seconds["KEEP_ALIVE"],
        drain_seconds=seconds["SHUTDOWN_DRAIN"],
        streams=int(whole["WEB_STREAMS"]),
        max_connections=int(whole["MAX_CONNECTIONS"]),
        upload_folder=values.folder(config, problems, "UPLOAD_DIR", "server.upload_dir"),
        send_seconds=seconds["SEND_TIMEOUT"],
        tls=read_tls(config, problems),
        health_port=values.health_port(config, problems),
        public_url=values.public_url(config, problems),
        metrics=values.boolean(config, problems, "METRICS_ENABLED", "metrics.enabled"),
        metrics_port=values.metrics_port(config, problems),
    )
    problems.raise_if_any()
    return settings
