"""The marks of the development issuer, by which a production server rejects it.

They are not in ``zuplo_origin.dev``, which is not in the image.
"""

import json
from typing import Any
from urllib.parse import urlsplit

from .failures import BadKeySet, Cause, at
from .fetch import Document, Source
from .keys import WantedKey

PATH = "/__zuplo/development-issuer"
"""The path of its URL. That of a gateway is ``/__zuplo/issuer``."""
KEY_PREFIX = "development-"
"""The beginning of the ``kid`` of its keys, which are in a file on a developer's disk."""


def is_development_issuer(url: str) -> bool:
    """Return whether ``url`` is that of a development issuer, or of one of its documents, on any host."""
    try:
        return urlsplit(url).path.startswith(PATH)
    except ValueError:
        return False


def has_development_key(body: bytes) -> bool:
    """Return whether the key set ``body`` has a key of a development issuer; ``False`` for any other document."""
    if KEY_PREFIX.encode() not in body:
        return False
    try:
        document: Any = json.loads(body)
    except ValueError:
        return False
    keys = document.get("keys") if isinstance(document, dict) else None
    kids = [key.get("kid") for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
    return any(isinstance(kid, str) and kid.startswith(KEY_PREFIX) for kid in kids)


class ProductionSource(Source):
    """A source whose key set must not have a key of a development issuer, wherever it is published."""

    def fetch(self, wanted: WantedKey | None = None) -> Document:
        document = super().fetch(wanted)
        if has_development_key(document.body):
            text = f"it has a key of a development issuer, whose kid begins with {KEY_PREFIX}: production rejects them"
            raise BadKeySet(Cause.DEVELOPMENT_KEY, at(document.url, text))
        return document
