"""The CA certificates that fetches trust, if an environment variable names them."""

import os
import re
import ssl
from pathlib import Path

VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""The first that is set is used. ``requests`` reads the first two, OpenSSL the third."""

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""The name of a certificate in a folder: OpenSSL looks it up by the hash of its subject."""


def ca_bundle() -> tuple[str, str] | None:
    """Return the variable that names the CA certificates, and its value; ``None`` if none is set."""
    return next(((name, value) for name in VARIABLES if (value := os.environ.get(name))), None)


def why_unusable(path: str) -> str | None:
    """Return why fetches cannot use the CA certificates at ``path``; ``None`` if they can.

    With a missing file, OpenSSL trusts no issuer, and ``requests`` reports an invalid path for each fetch.
    """
    try:
        if os.path.isdir(path):
            if any(_HASHED.fullmatch(name) for name in os.listdir(path)):
                return None
            return "the folder has no certificates under their hashes: run openssl rehash"
        text = Path(path).read_bytes()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(path)
    except ssl.SSLError:
        return (
            "it contains no certificate in PEM"
            if b"CERTIFICATE-----" not in text
            else "its certificates cannot be read"
        )
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or "it is not the name of a file"
    return None if context.cert_store_stats()["x509"] else "it contains no certificate in PEM"
