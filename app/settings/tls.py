"""The files with which the server speaks https itself."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .Problems import Problems
from .values import Config

ADVICE = {
    "TLS_CERT": "Write the path of a PEM file: the certificate, followed by those between it and its CA.",
    "TLS_KEY": "Write the path of a PEM file with the certificate's key, without a passphrase.",
    "TLS_CLIENT_CA": "Write the path of a PEM file with the CA that issues to your gateway.",
}


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files; all ``None`` when the server speaks plain http."""

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


class _NoPassphrase(Exception):
    pass


def read_tls(config: Config, problems: Problems) -> Tls:
    """Return the files that the settings name, after a look into each of them."""
    held = {name: config.get(f"server.{name.lower()}") or None for name in ADVICE}
    paths = {name: Path(value) if value else None for name, value in held.items()}
    certificate, key, client_ca = paths.values()
    if bool(certificate) != bool(key):
        missing = "TLS_KEY" if certificate else "TLS_CERT"
        problems.add(missing, None, f"{ADVICE[missing]} TLS_CERT and TLS_KEY need each other.")
    if client_ca and not certificate:
        problems.add("TLS_CERT", None, f"{ADVICE['TLS_CERT']} TLS_CLIENT_CA needs it.")
    if certificate and _look(problems, "TLS_CERT", certificate, _check_dates) and key:
        _look(problems, "TLS_KEY", key, lambda path: _check_key(certificate, path))
    if client_ca:
        _look(problems, "TLS_CLIENT_CA", client_ca, _check_dates)
    return Tls(certificate, key, client_ca)


def _look(problems: Problems, name: str, path: Path, check: Callable[[Path], Any]) -> bool:
    """Add a problem where ``check`` raises, and return whether it did not."""
    try:
        check(path)
        return True
    except OSError as error:  # an SSLError too
        why = error.strerror if not isinstance(error, ssl.SSLError) and error.strerror else "it cannot be used"
        if isinstance(error, ssl.SSLError) and "KEY_VALUES_MISMATCH" in str(error):
            why = "it does not fit the certificate in TLS_CERT"
        problems.add(name, str(path), f"{_sentence(why)} {ADVICE[name]}")
    except (_NoPassphrase, ValueError) as error:
        problems.add(name, str(path), f"{_sentence(str(error))} {ADVICE[name]}")
    return False


def _sentence(why: str) -> str:
    return f"{why[:1].upper()}{why[1:]}."


def _check_key(certificate: Path, key: Path) -> None:
    def ask() -> str:
        raise _NoPassphrase("it has a passphrase")

    key.read_bytes()  # its error names the file; that of load_cert_chain would do for both
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, ask)


def _check_dates(path: Path) -> None:
    from cryptography import x509

    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError:
        raise ValueError("it has no certificate in PEM") from None
    now = datetime.now(timezone.utc)
    first = certificates[0]
    if now > first.not_valid_after_utc:
        raise ValueError(f"it expired on {first.not_valid_after_utc:%Y-%m-%d}")
    if now < first.not_valid_before_utc:
        raise ValueError(f"it is not valid before {first.not_valid_before_utc:%Y-%m-%d}")
