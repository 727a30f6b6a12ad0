"""Base64url without padding, in its one canonical spelling (RFC 7515, section 2; RFC 4648, sections 3.5 and 5)."""

import base64
import binascii
import re

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def decode(text: str) -> bytes:
    """Return the bytes that ``text`` spells.

    Python's own decoder skips characters outside the alphabet and ignores the unused bits of the last one, so that
    many texts decode to the same bytes. Here each byte string has exactly one spelling.

    Raises ``ValueError`` for anything that ``encode`` would not have produced.
    """
    if not _ALPHABET.fullmatch(text):
        raise ValueError("a character outside the base64url alphabet")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("a length that base64url cannot have") from error
    if encode(data) != text:
        raise ValueError("unused bits of the last character are set")
    return data


def encode(data: bytes) -> str:
    """Return the canonical base64url text of ``data``, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
