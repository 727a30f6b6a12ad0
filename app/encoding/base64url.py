"""Base64url without padding, in its one canonical spelling (RFC 7515, section 2; RFC 4648, sections 3.5 and 5)."""

import base64
import binascii

_TO_BASE64 = bytes.maketrans(b"-_+/", b"+/!!")
"""``+`` and ``/`` become characters that base64 has not: they have no place in base64url."""


def decode(text: str) -> bytes:
    """Return the bytes that ``text`` spells.

    Python's own decoder skips characters outside the alphabet and ignores the unused bits of the last one, so that
    many texts decode to the same bytes. Here each byte string has exactly one spelling.

    Raises ``ValueError`` for anything that ``encode`` would not have produced.
    """
    spelled = text.encode("ascii").translate(_TO_BASE64)
    data = binascii.a2b_base64(spelled + b"==")
    if binascii.b2a_base64(data, newline=False).rstrip(b"=") != spelled:
        raise ValueError("not the canonical spelling of these bytes")
    return data


def encode(data: bytes) -> str:
    """Return the canonical base64url text of ``data``, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
