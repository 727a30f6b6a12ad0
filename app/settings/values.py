"""What a single setting may hold: each function returns its value, and notes in ``problems`` what cannot be meant."""

import os
import re
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urlsplit

from app.jwks.Source import is_acceptable_url

from .Problems import Problems

ENVIRONMENTS = ("local", "testing", "production")
SHORTEST_KEY = 32
"""Bytes of APP_KEY."""

_NAME = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_TAKEN_HEADERS = ("host", "connection", "content-length", "content-type", "cookie", "transfer-encoding", "zp-rid")
_QUOTABLE = re.compile(r"[ !#-\[\]-~]+")
_REDIS = re.compile(r"rediss?://(?:[^\s/?#@]*@)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[0-9]*)?")
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[A-Za-z0-9._~-]+)*/?")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Config(Protocol):
    """Masonite's configuration: ``get("jwt.leeway")`` is ``LEEWAY`` of ``config/jwt.py``."""

    def get(self, path: str, default: Any = None) -> Any: ...


def environment(config: Config, problems: Problems) -> str:
    environment = str(config.get("application.env"))
    if environment not in ENVIRONMENTS:
        problems.add("APP_ENV", environment, f"Write {', '.join(ENVIRONMENTS[:-1])} or {ENVIRONMENTS[-1]}.")
    if boolean(config, problems, "APP_DEBUG", "application.debug") and environment == "production":
        problems.add("APP_DEBUG", config.get("application.debug"), "Write False: debugging is never on in production.")
    return environment


def boolean(config: Config, problems: Problems, name: str, path: str) -> bool:
    held = str(config.get(path))
    value = _BOOLEANS.get(held.lower())
    if value is None:
        problems.add(name, held, "Write True or False.")
    return bool(value)


def public_url(config: Config, problems: Problems) -> str | None:
    held = config.get("application.public_url")
    if held and not (is_acceptable_url(held) and _PUBLIC_URL.fullmatch(held)):
        problems.add("PUBLIC_URL", held, "Write the https URL that clients call, no query; http is for loopback alone.")
    return held or None


def host(config: Config, problems: Problems) -> str:
    held = str(config.get("server.host"))
    try:
        ip_address(held)
    except ValueError:
        problems.add("HOST", held, "Write an IP address, such as 0.0.0.0, 127.0.0.1, or :: for IPv6 and IPv4.")
    return held


def metrics_port(config: Config, problems: Problems) -> int | None:
    held = config.get("metrics.port")
    if not held:
        return None
    if held == str(config.get("server.port")):
        problems.add("METRICS_PORT", held, "Write another port than PORT.")
    if _BOOLEANS.get(str(config.get("metrics.enabled")).lower()) is False:
        problems.add("METRICS_PORT", held, "Write METRICS_ENABLED=True too, or leave both out.")
    return int(number(config, problems, "METRICS_PORT", "metrics.port", 1, 65535, whole=True))


def folder(config: Config, problems: Problems, name: str, path: str) -> str | None:
    held = config.get(path)
    if held and not (os.path.isdir(held) and os.access(held, os.W_OK)):
        problems.add(name, held, "Write the path of a folder that this process can write to, or nothing.")
    return held or None


def health_port(config: Config, problems: Problems) -> int | None:
    held = config.get("server.health_port")
    if not held:
        if config.get("server.tls_client_ca"):
            problems.add("HEALTH_PORT", None, "Write a port: TLS_CLIENT_CA rejects probes, they have no certificate.")
        return None
    if held in (str(config.get("server.port")), str(config.get("metrics.port"))):
        problems.add("HEALTH_PORT", held, "Write another port than PORT and METRICS_PORT.")
    return int(number(config, problems, "HEALTH_PORT", "server.health_port", 1, 65535, whole=True))


def number(
    config: Config, problems: Problems, name: str, path: str, low: float, high: float, whole: bool = False
) -> float:
    held = str(config.get(path)).strip()
    pattern = r"[0-9]{1,9}" if whole else r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
    value = float(held) if re.fullmatch(pattern, held) else None
    if value is None or not low <= value <= high:
        problems.add(name, held, f"Write a {'whole ' if whole else ''}number from {low} to {high}.")
        return low
    return value


def header(config: Config, problems: Problems) -> str:
    held = str(config.get("jwt.header"))
    if not _NAME.fullmatch(held):
        problems.add("JWT_HEADER", held, "Write a header's name: letters, digits and single hyphens.")
    if held.lower() in _TAKEN_HEADERS:
        problems.add("JWT_HEADER", held, "Write another header: this one has a meaning of its own.")
    return held


def scheme(config: Config, problems: Problems) -> str:
    held = str(config.get("jwt.scheme"))
    if held and not _NAME.fullmatch(held):
        problems.add("JWT_SCHEME", held, "Write one word, such as Bearer, or nothing for a bare token.")
    return held


def realm(config: Config, problems: Problems) -> str:
    held = config.get("jwt.realm")
    realm = str(held or config.get("application.name"))
    if not _QUOTABLE.fullmatch(realm):
        problems.add("JWT_REALM" if held else "APP_NAME", realm, 'Write printable ASCII without " and \\.')
    return realm


def store(config: Config, problems: Problems) -> str:
    held = str(config.get("jwt.jwks_store"))
    if held not in ("memory", "file") and not (_REDIS.fullmatch(held) and _has_port(held)):
        problems.add("JWKS_STORE", held, "Write memory, file, redis://host:6379/0, or rediss:// for TLS.", secret=True)
    return held


def _has_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def key(config: Config, problems: Problems) -> bytes:
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
