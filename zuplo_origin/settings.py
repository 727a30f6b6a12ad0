"""All settings: variable, place in ``config/``, default, and how each is parsed and checked.

A setting is read from ``config/`` or, if it is ``None`` there, from the environment. All problems are reported at once.
"""

import logging
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from ipaddress import ip_address
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import idna

from zuplo_origin.gateway import Gateway
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.ca_bundle import ca_bundle, why_unusable
from zuplo_origin.jwks.client import Policy
from zuplo_origin.jwks.development import is_development_issuer
from zuplo_origin.jwks.fetch import DISCOVERY, is_acceptable_url, is_loopback
from zuplo_origin.jwt.claims import ANY, Audiences, BadAudience, is_string_or_uri, parse_required

log = logging.getLogger(__name__)

METADATA = "/.well-known/oauth-protected-resource"
"""Path of the metadata (RFC 9728, section 3)."""
SHARED_ISSUERS = ("dev.zuplo.com", "/v1/client-auth/")
"""Host and path prefix of the issuers that sign tokens for all Zuplo customers."""
OWNER_CLAIMS = ("account", "project")
"""Claims that identify a Zuplo customer."""
SHORTEST_KEY = 32
"""Minimum bytes of ``APP_KEY``."""
EXPECTED_KEY = f"{SHORTEST_KEY} random bytes or more (python craft key makes them)"
CANNOT_START = 3
"""Exit status for an invalid configuration: gunicorn exits too, instead of restarting its workers forever."""
ENVIRONMENTS = ("local", "testing", "production")

_HEADER_NAME = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_RESERVED_HEADERS = ("host", "connection", "content-length", "content-type", "cookie", "transfer-encoding", "zp-rid")
_QUOTABLE = re.compile(r"[ !#-\[\]-~]+")
_REDIS = re.compile(r"rediss?://(?:[^\s/?#@]*@)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[0-9]*)?")
_SECRET = re.compile(rf"[!-~]{{{SHORTEST_KEY},}}")
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[A-Za-z0-9._~-]+)*/?")
_CREDENTIALS = re.compile(r"[:/].*@", re.DOTALL)
"""Text that may be a URL with credentials. The address ``sa@project.iam.gserviceaccount.com`` is not."""
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class BadSettings(Exception):
    """Invalid settings. The text has one line for each: the variable, its value, and what is expected."""


class Config(Protocol):
    """Masonite's configuration: ``get("jwt.leeway")`` is ``LEEWAY`` in ``config/jwt.py``."""

    def get(self, path: str, default: Any = None) -> Any: ...


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files; all ``None`` if the server speaks plain http."""

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


@dataclass(frozen=True)
class IssuerSettings:
    """One issuer: its ``iss``, the URL of its key set, and the requirements for its tokens."""

    name: str
    jwks_url: str
    audiences: Audiences
    algorithms: frozenset[str]
    required_claims: Mapping[str, Any]

    @property
    def on_loopback(self) -> bool:
        """Return whether its keys are fetched from this machine, where any user may listen on its port."""
        return is_loopback(self.name if self.jwks_url == DISCOVERY else self.jwks_url)


@dataclass(frozen=True)
class Settings:
    """All settings. Durations are in seconds, sizes in bytes; ``threads`` and ``streams`` are per process."""

    environment: str
    name: str
    issuers: tuple[IssuerSettings, ...]
    leeway: float
    header: str
    scheme: str
    realm: str
    scope_claims: tuple[str, ...]
    jwks: Policy
    cache_size: int
    max_token_length: int
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
    max_body: int
    client_ip_header: str | None
    debug: bool
    gateway: Gateway | None
    max_connections: int
    upload_folder: str | None
    send_seconds: float
    tls: Tls
    health_port: int | None
    public_url: str | None
    metrics: bool
    metrics_port: int | None
    ready_database: bool
    database_503: bool

    @property
    def resource_metadata(self) -> str | None:
        """The URL of this API's resource metadata (RFC 9728, section 3.1); ``None`` without ``PUBLIC_URL``."""
        if self.public_url is None:
            return None
        parts = urlsplit(self.public_url)
        path = "" if parts.path == "/" else parts.path
        return f"{parts.scheme}://{parts.netloc}{METADATA}{path}"


class _Invalid(ValueError):
    """An invalid value. The text states what is expected."""


def _number(low: float, high: float, whole: bool = False) -> Callable[[str], Any]:
    pattern = r"[0-9]{1,9}" if whole else r"[0-9]{1,9}(?:\.[0-9]{1,9})?"

    def read(text: str) -> float:
        value = float(text) if re.fullmatch(pattern, text) else None
        if value is None or not low <= value <= high:
            raise _Invalid(f"a {'whole ' if whole else ''}number from {low} to {high}")
        return int(value) if whole else value

    return read


def _whole(low: int, high: int) -> Callable[[str], Any]:
    return _number(low, high, whole=True)


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise _Invalid("True or False")
    return _BOOLEANS[text.lower()]


def _environment(text: str) -> str:
    if text not in ENVIRONMENTS:
        raise _Invalid("local, testing or production")
    return text


def _address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        raise _Invalid("an IP address: 0.0.0.0, 127.0.0.1, or :: for IPv6 and IPv4") from None
    return text


def _header(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise _Invalid("the name of a header: letters, digits and single hyphens")
    if text.lower() in _RESERVED_HEADERS:
        raise _Invalid("another header: HTTP or the gateway uses this one")
    return text


def _scheme(text: str) -> str:
    if text and not _HEADER_NAME.fullmatch(text):
        raise _Invalid("one word, such as Bearer, or an empty value for a bare token")
    return text


def _quotable(text: str) -> str:
    if text and not _QUOTABLE.fullmatch(text):
        raise _Invalid('printable ASCII without " and \\')
    return text


def _public_url(text: str) -> str:
    if not (is_acceptable_url(text) and _PUBLIC_URL.fullmatch(text)):
        raise _Invalid("the https URL that clients call, without a query; http for loopback only")
    return text


def _folder(text: str) -> str:
    if not (os.path.isdir(text) and os.access(text, os.W_OK)):
        raise _Invalid("the path of a folder that this process can write to")
    return text


def _store(text: str) -> str:
    if text not in ("memory", "file") and not (_REDIS.fullmatch(text) and _has_valid_port(text)):
        raise _Invalid("memory, file, redis://host:6379/0, or rediss:// for TLS")
    return text


def _has_valid_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _key(text: str) -> bytes:
    if len(text.encode()) < SHORTEST_KEY:
        raise _Invalid(f"{EXPECTED_KEY}, the same for all processes")
    return text.encode()


def _secrets(text: str) -> tuple[str, ...]:
    found = tuple(_values(text))
    if not 1 <= len(set(found)) == len(found) <= 2 or not all(_SECRET.fullmatch(each) for each in found):
        raise _Invalid(f"{SHORTEST_KEY} characters of ASCII or more, without spaces; two, with a comma, in a rotation")
    return found


def _certificate(text: str) -> Path:
    """Return the path ``text`` of a PEM file, whose first certificate must be valid now."""
    from cryptography import x509

    try:
        certificates = x509.load_pem_x509_certificates(Path(text).read_bytes())
    except OSError as error:
        raise _Invalid(f"the path of a PEM file with a certificate ({error.strerror})") from None
    except ValueError:
        raise _Invalid("the path of a PEM file with a certificate (it contains none)") from None
    now, first = datetime.now(timezone.utc), certificates[0]
    if now > first.not_valid_after_utc:
        raise _Invalid(f"a valid certificate (it expired on {first.not_valid_after_utc:%Y-%m-%d})")
    if now < first.not_valid_before_utc:
        raise _Invalid(f"a valid certificate (it is not valid before {first.not_valid_before_utc:%Y-%m-%d})")
    return Path(text)


def _file(text: str) -> Path:
    try:
        Path(text).read_bytes()
    except OSError as error:
        raise _Invalid(f"the path of a PEM file with the private key ({error.strerror})") from None
    return Path(text)


@dataclass(frozen=True)
class Setting:
    """One setting: place in ``config/``, default, and parser. The value of a secret is never printed."""

    path: str
    default: str
    read: Callable[[str], Any] = str
    secret: bool = False


SETTINGS = {
    "APP_ENV": Setting("application.env", "production", _environment),
    "APP_NAME": Setting("application.name", "Zuplo origin", _quotable),
    "APP_DEBUG": Setting("application.debug", "False", _boolean),
    "APP_KEY": Setting("application.key", "", _key, secret=True),
    "PUBLIC_URL": Setting("application.public_url", "", _public_url),
    "JWT_ISSUER": Setting("jwt.issuer", ""),
    "JWKS_URL": Setting("jwt.jwks_url", ""),
    "JWT_AUDIENCE": Setting("jwt.audience", ""),
    "JWT_ALGORITHMS": Setting("jwt.algorithms", "EdDSA,RS256,ES256,PS256"),
    "JWT_REQUIRED_CLAIMS": Setting("jwt.required_claims", ""),
    "JWT_SCOPE_CLAIMS": Setting("jwt.scope_claims", "scope,scp"),
    "JWT_MAX_BYTES": Setting("jwt.max_bytes", "8192", _whole(1024, 24576)),
    "JWT_LEEWAY": Setting("jwt.leeway", "30", _number(0, 300)),
    "JWT_HEADER": Setting("jwt.header", "Authorization", _header),
    "JWT_SCHEME": Setting("jwt.scheme", "Bearer", _scheme),
    "JWT_REALM": Setting("jwt.realm", "", _quotable),
    "JWT_CACHE_SIZE": Setting("jwt.cache_size", "1024", _whole(0, 16384)),
    "JWKS_TTL": Setting("jwt.jwks_ttl", "600", _number(1, 86400)),
    "JWKS_MAX_STALE": Setting("jwt.jwks_max_stale", "3600", _number(0, 604800)),
    "JWKS_TIMEOUT": Setting("jwt.jwks_timeout", "5", _number(0.1, 30)),
    "JWKS_COOLDOWN": Setting("jwt.jwks_cooldown", "10", _number(1, 3600)),
    "JWKS_MAX_BYTES": Setting("jwt.jwks_max_bytes", "262144", _whole(1024, 1_048_576)),
    "JWKS_STORE": Setting("jwt.jwks_store", "memory", _store, secret=True),
    "GATEWAY_SECRET": Setting("server.gateway_secret", "", _secrets, secret=True),
    "GATEWAY_SECRET_HEADER": Setting("server.gateway_secret_header", "backend-secret", _header),
    "METRICS_ENABLED": Setting("metrics.enabled", "False", _boolean),
    "METRICS_PORT": Setting("metrics.port", "", _whole(1, 65535)),
    "HOST": Setting("server.host", "0.0.0.0", _address),  # noqa: S104
    "PORT": Setting("server.port", "8000", _whole(1, 65535)),
    "HEALTH_PORT": Setting("server.health_port", "", _whole(1, 65535)),
    "WEB_CONCURRENCY": Setting("server.processes", "2", _whole(1, 256)),
    "WEB_THREADS": Setting("server.threads", "8", _whole(1, 1024)),
    "WEB_STREAMS": Setting("server.streams", "8", _whole(1, 1024)),
    "MAX_CONNECTIONS": Setting("server.max_connections", "2048", _whole(16, 65536)),
    "KEEP_ALIVE": Setting("server.keep_alive", "930", _number(1, 3600)),
    "BODY_TIMEOUT": Setting("server.body_timeout", "30", _number(1, 3600)),
    "SEND_TIMEOUT": Setting("server.send_timeout", "30", _number(1, 3600)),
    "SHUTDOWN_DRAIN": Setting("server.shutdown_drain", "2", _number(0, 60)),
    "UPLOAD_DIR": Setting("server.upload_dir", "", _folder),
    "MAX_BODY_BYTES": Setting("server.max_body_bytes", "1048576", _whole(0, 536_870_912)),
    "CLIENT_IP_HEADER": Setting("server.client_ip_header", "", _header),
    "READY_DATABASE": Setting("server.ready_database", "False", _boolean),
    "DATABASE_503": Setting("server.database_503", "False", _boolean),
    "TLS_CERT": Setting("server.tls_cert", "", _certificate),
    "TLS_KEY": Setting("server.tls_key", "", _file),
    "TLS_CLIENT_CA": Setting("server.tls_client_ca", "", _certificate),
}
"""Variable to setting. An empty value means the default, except for ``JWT_SCHEME``."""


RENAMED: dict[str, str] = {}
"""Old name of a variable to the new one. The old one is read for one minor version, with a warning."""


def raw_value(config: Config, name: str) -> Any:
    """Return the unparsed value of the setting ``name``, or its default."""
    setting = SETTINGS[name]
    value = config.get(setting.path)
    value = os.environ.get(name) if value is None else value
    for old in (old for old, new in RENAMED.items() if new == name and value is None and old in os.environ):
        log.warning("%s was renamed to %s: the next minor version does not read the old name", old, name)
        value = os.environ[old]
    return setting.default if value is None or (value == "" and name != "JWT_SCHEME") else value


class _Reader:
    """Reads settings from ``config`` and the environment, and collects problems."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._problems: list[str] = []

    def raw(self, name: str) -> Any:
        return raw_value(self._config, name)

    def read(self, name: str) -> Any:
        """Return the parsed value. Return ``None`` if it is not set, or if it is invalid, which adds a problem."""
        value = self.raw(name)
        if value == "" and SETTINGS[name].default == "":
            return None
        try:
            return SETTINGS[name].read(str(value).strip())
        except _Invalid as error:
            self.add(name, value, str(error))
            return None

    def add(self, name: str, value: Any, expected: str) -> None:
        """Add a problem. The values of secrets, and URLs with credentials, are not shown."""
        if value in (None, "", [], {}):
            found = "not set"
        elif SETTINGS[name].secret or _CREDENTIALS.search(str(value)):
            found = "invalid value (not shown)"
        else:
            found = f"invalid value {str(value)[:200]!r}"
        self.add_text(f"{name}: {found}; expected {expected}")

    def add_text(self, problem: str) -> None:
        if problem not in self._problems:
            self._problems.append(problem)

    def raise_if_any(self) -> None:
        if self._problems:
            count = len(self._problems)
            title = "1 invalid setting" if count == 1 else f"{count} invalid settings"
            raise BadSettings("\n  ".join([f"Cannot start: {title}.", *self._problems]))


PREFIXES = ("JWT_", "JWKS_", "WEB_", "GATEWAY_", "TLS_")
"""Variables that begin like this are settings: an unknown one is a typo."""
_OF_KUBERNETES = re.compile(r".*_SERVICE_HOST|.*_SERVICE_PORT(_.*)?|.*_PORT_[0-9]+_.*")
"""Variables that Kubernetes sets for each Service, whose name may be ``web``."""


def is_of_kubernetes(name: str) -> bool:
    """Return whether Kubernetes sets the variable ``name`` for a Service."""
    return _OF_KUBERNETES.fullmatch(name) is not None


def _check_names(reader: _Reader) -> None:
    """Add a problem for each variable that looks like a setting and is not one."""
    for name, value in os.environ.items():
        if not name.startswith(PREFIXES) or name in SETTINGS or name in RENAMED or is_of_kubernetes(name):
            continue
        if name.endswith("_PORT") and value.startswith(("tcp://", "udp://")):
            continue
        nearest = get_close_matches(name, SETTINGS, 1)
        reader.add_text(f"{name}: unknown setting" + (f"; did you mean {nearest[0]}?" if nearest else ""))


def _check_ca_bundle(reader: _Reader) -> None:
    """Add a problem if the CA bundle in the environment cannot be used: every fetch by https would fail."""
    bundle = ca_bundle()
    why = bundle and why_unusable(bundle[1])
    if bundle and why:
        expected = f"the path of a PEM file with CA certificates, or of a folder of them ({why})"
        reader.add_text(f"{bundle[0]}: invalid value {bundle[1][:200]!r}; expected {expected}")


def is_setting(name: str) -> bool:
    """Return whether ``name`` is a variable that configures this application."""
    return name in SETTINGS or name in RENAMED


def read_settings(config: Config) -> Settings:
    """Return the settings. Raises ``BadSettings`` with all problems."""
    reader = _Reader(config)
    values = {name: reader.read(name) for name in SETTINGS}
    environment = values["APP_ENV"] or "production"
    _check_together(reader, values, environment)
    name = values["APP_NAME"] or ""
    issuers = _read_issuers(reader, config.get("jwt.issuers"), environment)
    scope_claims = _scope_claims(reader, reader.raw("JWT_SCOPE_CLAIMS"))
    tls = _read_tls(reader, values)
    _check_ca_bundle(reader)
    _check_names(reader)
    reader.raise_if_any()
    return Settings(
        environment=environment,
        name=name,
        issuers=issuers,
        leeway=values["JWT_LEEWAY"],
        header=values["JWT_HEADER"],
        scheme=values["JWT_SCHEME"],
        realm=values["JWT_REALM"] or name,
        scope_claims=scope_claims,
        jwks=Policy(
            ttl=values["JWKS_TTL"],
            max_stale=values["JWKS_MAX_STALE"],
            timeout=values["JWKS_TIMEOUT"],
            cooldown=values["JWKS_COOLDOWN"],
        ),
        cache_size=values["JWT_CACHE_SIZE"],
        max_token_length=values["JWT_MAX_BYTES"],
        jwks_max_bytes=values["JWKS_MAX_BYTES"],
        jwks_store=values["JWKS_STORE"],
        key=values["APP_KEY"] or b"",
        port=values["PORT"],
        processes=values["WEB_CONCURRENCY"],
        threads=values["WEB_THREADS"],
        body_seconds=values["BODY_TIMEOUT"],
        host=values["HOST"],
        keep_alive=values["KEEP_ALIVE"],
        drain_seconds=values["SHUTDOWN_DRAIN"],
        streams=values["WEB_STREAMS"],
        max_body=values["MAX_BODY_BYTES"],
        client_ip_header=values["CLIENT_IP_HEADER"],
        debug=values["APP_DEBUG"],
        gateway=_gateway(values["GATEWAY_SECRET"], values["GATEWAY_SECRET_HEADER"]),
        max_connections=values["MAX_CONNECTIONS"],
        upload_folder=values["UPLOAD_DIR"],
        send_seconds=values["SEND_TIMEOUT"],
        tls=tls,
        health_port=values["HEALTH_PORT"],
        public_url=values["PUBLIC_URL"],
        metrics=values["METRICS_ENABLED"],
        metrics_port=values["METRICS_PORT"],
        ready_database=values["READY_DATABASE"],
        database_503=values["DATABASE_503"],
    )


def _gateway(secrets: tuple[str, ...] | None, header: str) -> Gateway | None:
    return None if secrets is None else Gateway(secrets, header)


def _check_together(reader: _Reader, values: Mapping[str, Any], environment: str) -> None:
    """Add the problems of settings that are valid on their own, but not together."""
    if values["APP_DEBUG"] and environment == "production":
        reader.add("APP_DEBUG", reader.raw("APP_DEBUG"), "False in production")
    if values["JWKS_STORE"] not in (None, "memory") and not reader.raw("APP_KEY"):
        reader.add("APP_KEY", None, f"{EXPECTED_KEY}, the same for all processes: JWKS_STORE needs it")
    header = values["GATEWAY_SECRET_HEADER"]
    if header and values["JWT_HEADER"] and header.lower() == values["JWT_HEADER"].lower():
        reader.add("GATEWAY_SECRET_HEADER", header, "another header than JWT_HEADER")
    ports = {name: values[name] for name in ("PORT", "METRICS_PORT", "HEALTH_PORT")}
    for name in ("METRICS_PORT", "HEALTH_PORT"):
        others = [other for other in ports if other < name or other == "PORT"]
        if ports[name] is not None and ports[name] in [ports[other] for other in others if other != name]:
            reader.add(
                name, ports[name], f"another port than {' and '.join(other for other in ports if other != name)}"
            )
    if values["METRICS_PORT"] is not None and values["METRICS_ENABLED"] is False:
        reader.add("METRICS_PORT", values["METRICS_PORT"], "METRICS_ENABLED=True too, or neither")
    if reader.raw("TLS_CLIENT_CA") and not reader.raw("HEALTH_PORT"):
        reader.add("HEALTH_PORT", None, "a port: TLS_CLIENT_CA rejects probes, which have no certificate")


def _read_tls(reader: _Reader, values: Mapping[str, Any]) -> Tls:
    has_certificate, has_key = bool(reader.raw("TLS_CERT")), bool(reader.raw("TLS_KEY"))
    if has_certificate != has_key:
        missing = "TLS_KEY" if has_certificate else "TLS_CERT"
        reader.add(missing, None, "the path of a PEM file: TLS_CERT and TLS_KEY need each other")
    if reader.raw("TLS_CLIENT_CA") and not has_certificate:
        reader.add("TLS_CERT", None, "the path of a PEM file: TLS_CLIENT_CA needs it")
    certificate, key = values["TLS_CERT"], values["TLS_KEY"]
    if certificate and key:
        problem = _why_key_does_not_fit(certificate, key)
        if problem:
            reader.add("TLS_KEY", str(key), f"the private key of TLS_CERT, without a passphrase ({problem})")
    return Tls(certificate, key, values["TLS_CLIENT_CA"])


def _why_key_does_not_fit(certificate: Path, key: Path) -> str | None:
    has_passphrase = False

    def passphrase() -> str:
        nonlocal has_passphrase
        has_passphrase = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, ValueError) as error:
        if has_passphrase:
            return "it has a passphrase"
        return "it is another key" if "KEY_VALUES_MISMATCH" in str(error) else "it cannot be used"
    return None


def _read_issuers(reader: _Reader, entries: Any, environment: str) -> tuple[IssuerSettings, ...]:
    """Return the issuers: those of ``ISSUERS`` in ``config/jwt.py``, or those that the variables describe."""
    if not entries:
        names, urls = _values(reader.raw("JWT_ISSUER")), _values(reader.raw("JWKS_URL"))
        if urls and len(urls) != len(names) and names:
            expected = (
                "one URL for each issuer in JWT_ISSUER, or none; an iss or URL with a comma: ISSUERS in config/jwt.py"
            )
            reader.add("JWKS_URL", reader.raw("JWKS_URL"), expected)
        entries = [{"issuer": name, "jwks_url": url} for name, url in zip_longest(names or [""], urls) if name or url]
    named = [entry for entry in entries if entry.get("issuer")]
    if not named:
        reader.add("JWT_ISSUER", None, "the iss of your gateway's tokens: https://<host>/__zuplo/issuer")
        named = [{}]
    names = [entry.get("issuer") for entry in named]
    for name in {name for name in names if names.count(name) > 1}:
        reader.add("JWT_ISSUER", name, "each issuer once")
    return tuple(_read_issuer(reader, entry, environment) for entry in named)


def _read_issuer(reader: _Reader, entry: Mapping[str, Any], environment: str) -> IssuerSettings:
    name, given = str(entry.get("issuer") or ""), str(entry.get("jwks_url") or "")
    url = given or name.rstrip("/") + "/.well-known/jwks.json"
    if given and given != DISCOVERY and not is_acceptable_url(given):
        reader.add("JWKS_URL", given, f"an https URL, or {DISCOVERY}; http for loopback only{_punycode(given)}")
    if not is_string_or_uri(name):
        reader.add("JWT_ISSUER", name, "the iss of the tokens, without control characters")
    elif name and given in ("", DISCOVERY) and (not is_acceptable_url(name) or "?" in name):
        expected = "an https URL without a query; http for loopback only; for any other iss, set JWKS_URL to its keys"
        reader.add("JWT_ISSUER", name, expected + _punycode(name))
    if environment == "production":
        for setting, value in (("JWT_ISSUER", name), ("JWKS_URL", given)):
            if is_development_issuer(value):
                reader.add(
                    setting, value, "another issuer in production: this is one of craft serve's, for development"
                )
    required = _required_claims(reader, entry.get("required_claims", reader.raw("JWT_REQUIRED_CLAIMS")))
    if _is_shared(name) and not all(required.get(claim) for claim in OWNER_CLAIMS):
        reader.add(
            "JWT_REQUIRED_CLAIMS",
            entry.get("required_claims", reader.raw("JWT_REQUIRED_CLAIMS")),
            f"account=<yours>,project=<yours>: {name} signs for every customer of Zuplo",
        )
    required_here = bool(name) or environment == "production"
    audiences = _audiences(reader, entry.get("audience", reader.raw("JWT_AUDIENCE")), required_here)
    algorithms = _algorithms(reader, entry.get("algorithms", reader.raw("JWT_ALGORITHMS")))
    return IssuerSettings(name, url, audiences, algorithms, required)


def _punycode(url: str) -> str:
    """Return the advice to write a host beyond ASCII in punycode (RFC 3492); nothing for other URLs."""
    try:
        host = urlsplit(url).hostname or ""
        return "" if host.isascii() else f"; the host in punycode: {idna.encode(host, uts46=True).decode()}"
    except ValueError:
        return ""


def _is_shared(name: str) -> bool:
    try:
        parts = urlsplit(name)
        return parts.hostname == SHARED_ISSUERS[0] and parts.path.startswith(SHARED_ISSUERS[1])
    except ValueError:
        return False


def _audiences(reader: _Reader, value: Any, required: bool) -> Audiences:
    values = _values(value)
    if not values:
        if required:
            expected = f"the aud of your gateway's tokens, https://<host>/* for its URLs, or {ANY} for any"
            reader.add("JWT_AUDIENCE", value, expected)
        return Audiences.of([ANY])
    try:
        return Audiences.of(values)
    except BadAudience as bad:
        reader.add("JWT_AUDIENCE", value, str(bad))
        return Audiences.of([])


def _algorithms(reader: _Reader, value: Any) -> frozenset[str]:
    values = _values(value)
    wrong = [each for each in values if each not in ALGORITHMS]
    if wrong or not values:
        expected = f"some of {', '.join(ALGORITHMS)}"
        if any(each.upper().startswith("HS") or each.lower() == "none" for each in wrong):
            expected += " (HS* needs a secret that signs, none has no signature)"
        reader.add("JWT_ALGORITHMS", value, expected)
    return frozenset(values) - frozenset(wrong)


def _required_claims(reader: _Reader, value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    required: dict[str, Any] = {}
    for text in _values(value):
        try:
            name, accepted = parse_required(text)
            if name in required:
                raise ValueError(name)
            required[name] = accepted
        except ValueError:
            expected = "name, name=value, name=one|other or name:=JSON, separated by commas, each name once"
            reader.add("JWT_REQUIRED_CLAIMS", value, expected)
    return required


def _scope_claims(reader: _Reader, value: Any) -> tuple[str, ...]:
    names = _values(value)
    if not names or any(re.search(r"\s", name) or not all(name.split(".")) for name in names):
        expected = "names of claims, separated by commas; a dotted path for a member of one: realm_access.roles"
        reader.add("JWT_SCOPE_CLAIMS", value, expected)
    return tuple(names)


def _values(value: Any) -> list[str]:
    """Return the values of a comma-separated string or a list."""
    values = value.split(",") if isinstance(value, str) else [str(each) for each in value or []]
    return [each.strip() for each in values if each.strip()]
