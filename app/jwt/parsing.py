"""From the text of a token to its parts: the compact serialization, read strictly (RFC 7515, sections 3.1 and 5.2)."""

from dataclasses import dataclass
from typing import Any

from app.encoding import base64url, strict_json

from .reasons import Reason, Refused

MAX_LENGTH = 8192
"""Characters of a token."""


@dataclass(frozen=True)
class Token:
    """A token's parts. Nothing is known of their truth yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    payload: bytes
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
        header_bytes, payload, signature = (base64url.decode(segment) for segment in segments)
        header, claims = strict_json.loads(header_bytes), strict_json.loads(payload)
    except ValueError:
        raise Refused(Reason.MALFORMED) from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Refused(Reason.MALFORMED)
    return Token(header, claims, payload, text[: text.rindex(".")].encode("ascii"), signature)
