"""From the text of a token to its parts: the compact serialization, read strictly (RFC 7515, sections 3.1 and 5.2)."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from app.encoding import base64url, strict_json

from .reasons import Reason, Refused

MAX_LENGTH = 8192
"""Characters of a token."""
SHORT_HEADER = 512
"""Characters of a token's first segment, up to which what it says is remembered."""


class Token(NamedTuple):
    """A token's parts. Nothing is known of their truth yet."""

    header: Mapping[str, Any]
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def parse(text: str) -> Token:
    """Return the parts of ``text``.

    Three segments of canonical base64url, header and payload JSON objects in UTF-8 with each member named once. Raises
    ``Refused``: ``TOO_LARGE`` or ``MALFORMED``.
    """
    if len(text) > MAX_LENGTH:
        raise Refused(Reason.TOO_LARGE)
    segments = text.split(".")
    if len(segments) != 3:
        raise Refused(Reason.MALFORMED)
    try:
        header = _header(segments[0]) if len(segments[0]) <= SHORT_HEADER else _read_header(segments[0])
        claims, signature = strict_json.loads(base64url.decode(segments[1])), base64url.decode(segments[2])
    except ValueError:
        raise Refused(Reason.MALFORMED) from None
    if not isinstance(claims, dict):
        raise Refused(Reason.MALFORMED)
    return Token(header, claims, text[: text.rindex(".")].encode("ascii"), signature)


def _read_header(segment: str) -> Mapping[str, Any]:
    header = strict_json.loads(base64url.decode(segment))
    if not isinstance(header, dict):
        raise ValueError("no object")
    return MappingProxyType(header)


_header = lru_cache(maxsize=256)(_read_header)
"""All tokens of one key begin with the same header: it is read once, and what it says is shared, and never changed."""
