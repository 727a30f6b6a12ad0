"""How what lies in a store is told from what anybody else put there."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

_PURPOSE = b"zuplo-origin: shared key sets, 1"
_DIGITS = 64


class Seal:
    """An HMAC with SHA-256 (RFC 2104) over a name and a JSON object. ``key`` is a secret that all processes share.

    What was sealed under one name opens under no other. It may be put back later: whoever opens it looks at the time
    that stands in it.
    """

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, _PURPOSE, "sha256")

    def close(self, name: str, content: Mapping[str, Any]) -> bytes:
        """Return ``content``, sealed for ``name``."""
        text = json.dumps(content).encode()
        return self._mac(name, text).encode() + text

    def open(self, name: str, value: bytes) -> dict[str, Any] | None:
        """Return the content of ``value``, ``None`` where it was not sealed with this key for ``name``."""
        if not hmac.compare_digest(self._mac(name, value[_DIGITS:]).encode(), value[:_DIGITS]):
            return None
        content = json.loads(value[_DIGITS:])
        return content if isinstance(content, dict) else None

    def _mac(self, name: str, text: bytes) -> str:
        return hmac.new(self._key, hashlib.sha256(name.encode()).digest() + text, "sha256").hexdigest()
