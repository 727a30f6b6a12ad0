"""Where an issuer publishes its keys, and one fetch of them."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from app.encoding import strict_json

from .Deadline import Deadline
from .fetch import Document, FetchFailed, fetch, is_loopback

DISCOVERY = "discovery"
"""In place of a URL: ask the issuer where its keys are."""


def is_acceptable_url(url: str) -> bool:
    """Whether keys may be fetched from ``url``: https with a host, or http on loopback; no credentials, no fragment."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    if not usable or "@" in parts.netloc or parts.fragment or not url.isascii() or any(c <= " " for c in url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))


@dataclass(frozen=True)
class Source:
    """Fetches the key set of ``issuer`` from ``url``, or from where the issuer says (OpenID Connect Discovery 1.0, 4).

    ``timeout`` is in seconds, for everything together; ``max_bytes`` holds for each document.
    """

    issuer: str
    url: str
    timeout: float
    max_bytes: int

    def fetch(self, etag: str | None = None, answers: object = None) -> Document:
        """Return the issuer's answer; ``FetchFailed`` where there is no usable one.

        What the answer is wanted for, ``answers``, makes no difference here.
        """
        with Deadline(self.timeout) as deadline:
            url = self._discovered(deadline) if self.url == DISCOVERY else self.url
            return fetch(url, deadline, self.max_bytes, etag)

    def _discovered(self, deadline: Deadline) -> str:
        url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            metadata = strict_json.loads(fetch(url, deadline, self.max_bytes).body or b"")
        except ValueError:
            raise FetchFailed("the discovery document is not JSON") from None
        if not isinstance(metadata, dict) or metadata.get("issuer") != self.issuer:
            raise FetchFailed("the discovery document is another issuer's")
        jwks_uri = metadata.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not is_acceptable_url(jwks_uri):
            raise FetchFailed("the discovery document names no https jwks_uri")
        return jwks_uri
