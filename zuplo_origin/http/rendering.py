"""Values that actions return, as JSON."""

import dataclasses
import json
from collections.abc import Callable
from datetime import date, datetime, time, timezone
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

_OPTIONS = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_DATACLASS
_types: dict[type, Callable[[Any], Any]] = {}


def register_type(kind: type, render: Callable[[Any], Any]) -> None:
    """Let actions return instances of ``kind``: ``render`` returns for one a value that JSON has.

    ``register_type(Money, str)``. Call it in a provider's ``register``.
    """
    _types[kind] = render


def etag_of(value: Any) -> str:
    """Return a strong entity tag (RFC 9110, section 8.8.3) of ``value``, such as a model of the ORM.

    Two values have the same tag if they are the same JSON. Raises as ``encode`` does.
    """
    return f'"{sha256(encode(value)).hexdigest()[:32]}"'


def encode(value: Any) -> bytes:
    """Return ``value`` as JSON (RFC 8259). Raises ``TypeError`` or ``ValueError`` if JSON has no such value.

    orjson takes a fifth of the standard library's time, but has no integers over 64 bits, and writes ``null`` for
    ``NaN``: when one of these is possible, the standard library encodes instead.
    """
    try:
        encoded = orjson.dumps(value, default=_render, option=_OPTIONS)
    except TypeError:
        return _slower.encode(value).encode("utf-8")
    return _slower.encode(value).encode("utf-8") if b"null" in encoded else encoded


def _render(value: Any) -> Any:
    """Return something simpler for a value that is not one of JSON's."""
    for kind, render in _types.items():
        if isinstance(value, kind):
            return render(value)
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, datetime):
        spelled = (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).isoformat()
        return spelled.removesuffix("+00:00") + "Z" if spelled.endswith("+00:00") else spelled
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):  # a pydantic model
        return value.model_dump(mode="json", by_alias=True)
    if hasattr(value, "serialize"):  # Masonite's models, collections and paginators
        return value.serialize()
    raise TypeError(f"JSON has no {type(value).__name__}")


_slower = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_render)
