"""Base64url, JSON and printable text, each stricter than the standard library."""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

_TO_BASE64 = bytes.maketrans(b"-_+/", b"+/!!")
"""``+`` and ``/`` become characters that base64 has not: they have no place in base64url."""


def decode_base64url(text: str) -> bytes:
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


def encode_base64url(data: bytes) -> str:
    """Return the canonical base64url text of ``data``, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_FLOAT = frozenset({str, int, bool, type(None)})
_WHITE_SPACE = " \t\r\n"
MAX_DEPTH = 100
"""Levels of nesting: what is deeper might be read, and not written again."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def refuse_duplicates(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object out of its members; ``ValueError`` where a name occurs twice (RFC 7493, section 2.3)."""
    built = dict(members)
    if len(built) != len(members):
        raise ValueError("a member is named twice")
    return built


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=refuse_duplicates)


def load_json(data: bytes, build_object: Callable[[list[tuple[str, Any]]], Any] = refuse_duplicates) -> Any:
    """Return the value that ``data``, JSON in UTF-8, stands for.

    ``build_object`` makes an object out of its list of members; the default refuses a name that occurs twice.

    Raises ``ValueError`` for bytes that are not UTF-8, a byte order mark, a name that occurs twice, ``NaN`` and
    ``Infinity``, lone surrogates, integers of more digits than Python converts, and more than 100 levels of nesting.
    A number too large for a float, such as ``1e999``, is read as infinity: see ``has_nonfinite``.
    """
    text = data.decode("utf-8")
    decoder = _decoder
    if build_object is not refuse_duplicates:
        decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=build_object)
    try:
        text = text.strip(_WHITE_SPACE)
        value, end = decoder.raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if end != len(text):
        raise ValueError("something follows the value")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    if _SURROGATE_ESCAPE.search(data):
        # the parser joins proper pairs; what is left of them cannot be encoded
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists stand in each other more than ``levels`` deep."""
    nested = [value]
    for _ in range(levels):
        nested = [item for outer in nested for item in _items(outer) if isinstance(item, (dict, list))]
        if not nested:
            return False
    return True


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def has_nonfinite(value: Any) -> bool:
    """Whether a number in ``value``, however deep, was too large for a float, and was read as infinity."""
    if type(value) is float:
        return not math.isfinite(value)
    return any([has_nonfinite(item) for item in _items(value) if type(item) not in _NO_FLOAT])


_UNPRINTABLE = re.compile("[^!-~]")


def printable(text: str | None, longest: int = 64) -> str:
    """Return ``text`` as one word of printable ASCII, ``longest`` characters at the most; ``-`` for none."""
    return _UNPRINTABLE.sub("?", (text or "-")[:longest])
