"""Base64url, JSON and printable text, stricter than the standard library."""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_TO_BASE64 = bytes.maketrans(b"-_+/", b"+/!!")
"""``+`` and ``/`` become characters that are not base64, because they are not base64url."""


def decode_base64url(text: str) -> bytes:
    """Return the bytes that ``text`` encodes.

    Python's decoder skips characters outside the alphabet and ignores the unused bits of the last one, so that many
    texts decode to the same bytes. This one accepts only the canonical text.

    Raises ``ValueError`` for a text that ``encode_base64url`` would not have returned.
    """
    encoded = text.encode("ascii").translate(_TO_BASE64)
    data = binascii.a2b_base64(encoded + b"==")
    if binascii.b2a_base64(data, newline=False).rstrip(b"=") != encoded:
        raise ValueError("not canonical base64url")
    return data


def encode_base64url(data: bytes) -> str:
    """Return the canonical base64url text of ``data``, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def derived_key(secret: bytes, purpose: str) -> bytes:
    """Return 32 bytes derived from ``secret`` for ``purpose`` alone (HKDF with SHA-256, RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, None, b"zuplo-origin " + purpose.encode()).derive(secret)


_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_FLOAT = frozenset({str, int, bool, type(None)})
_WHITE_SPACE = " \t\r\n"
MAX_DEPTH = 100
"""Levels of nesting. A deeper value could be parsed, but not be serialized again."""


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def reject_duplicates(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object with these members. Raises ``ValueError`` for a duplicate name (RFC 7493, section 2.3)."""
    built = dict(members)
    if len(built) != len(members):
        raise ValueError("duplicate member name")
    return built


_decoder = json.JSONDecoder(parse_constant=_reject_constant, object_pairs_hook=reject_duplicates)


def load_json(data: bytes, build_object: Callable[[list[tuple[str, Any]]], Any] = reject_duplicates) -> Any:
    """Return the value of ``data``, JSON in UTF-8.

    ``build_object`` converts the list of an object's members; the default rejects duplicate names.

    Raises ``ValueError`` for bytes that are not UTF-8, a byte order mark, duplicate names, ``NaN`` and ``Infinity``,
    lone surrogates, integers with more digits than Python converts, and more than 100 levels of nesting. A number that
    is too large for a float, such as ``1e999``, becomes infinity: see ``has_nonfinite``.
    """
    text = data.decode("utf-8")
    decoder = _decoder
    if build_object is not reject_duplicates:
        decoder = json.JSONDecoder(parse_constant=_reject_constant, object_pairs_hook=build_object)
    try:
        text = text.strip(_WHITE_SPACE)
        value, end = decoder.raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if end != len(text):
        raise ValueError("extra data after the value")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    if _SURROGATE_ESCAPE.search(data):
        # the parser joins valid pairs; a lone surrogate cannot be encoded
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether objects and lists are nested more than ``levels`` deep."""
    nested = [value]
    for _ in range(levels):
        nested = [item for outer in nested for item in _items(outer) if isinstance(item, (dict, list))]
        if not nested:
            return False
    return True


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def has_nonfinite(value: Any) -> bool:
    """Return whether ``value`` contains infinity, at any depth: a JSON number that is too large for a float."""
    if type(value) is float:
        return not math.isfinite(value)
    return any([has_nonfinite(item) for item in _items(value) if type(item) not in _NO_FLOAT])


_UNPRINTABLE = re.compile("[^!-~]")


def printable(text: str | None, longest: int = 64) -> str:
    """Return ``text`` as one word of printable ASCII, at most ``longest`` characters long; ``-`` if it is empty."""
    return _UNPRINTABLE.sub("?", (text or "-")[:longest])


_TOKEN = re.compile(r"eyJ[A-Za-z0-9_.~+/=-]{5,}|[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*")


def without_tokens(text: str, longest: int = 300) -> str:
    """Return ``text``, at most ``longest`` characters long, with ``<token>`` in place of what looks like a JWT."""
    return _TOKEN.sub("<token>", text[:longest])


def member_at(value: Mapping[str, Any], path: str, missing: Any) -> Any:
    """Return the member named ``path``, or what is at the dotted ``path``, or ``missing``.

    The name of a member on the path may have dots too; of several readings, the one with the shortest names is used.
    """
    if path in value:
        return value[path]
    return _member_at(value, path.split("."), missing) if "." in path else missing


def _member_at(found: Any, parts: list[str], missing: Any) -> Any:
    if not parts:
        return found
    if isinstance(found, Mapping):
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            if name in found:
                inner = _member_at(found[name], parts[count:], missing)
                if inner is not missing:
                    return inner
    return missing
