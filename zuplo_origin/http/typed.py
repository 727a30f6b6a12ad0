"""Typed input: an action's parameter that is annotated with a pydantic model is read from the request and validated.

A model with a class method ``__from_request__``, such as ``zuplo_origin.claims.Claims``, is made by that method.
Another one is the body, or the query string.

pydantic is imported by the models, not here: an application without models does not pay for it.
"""

import json
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from inspect import Signature, isclass, signature
from typing import Annotated, Any, get_args, get_origin

from .errors import ValidationFailed

WITH_BODY = ("POST", "PUT", "PATCH")
"""Methods whose model is read from the body; the others' is read from the query string."""


def is_model(annotation: Any) -> bool:
    """Return whether ``annotation`` is a pydantic model."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isclass(annotation) and issubclass(annotation, pydantic.BaseModel)


def signature_of(called: Callable[..., Any]) -> Signature:
    """Return the signature of ``called``, with evaluated annotations (``from __future__ import annotations``)."""
    try:
        return signature(called, eval_str=True)
    except Exception:  # a name for type checkers only
        return signature(called)


def is_made_from_request(annotation: Any) -> bool:
    """Return whether ``annotation`` is a model that its own ``__from_request__`` makes."""
    return is_model(annotation) and hasattr(annotation, "__from_request__")


@lru_cache(maxsize=1024)
def models_of(action: Callable[..., Any]) -> tuple[Any, tuple[Any, ...]]:
    """Return the model of the input that ``action`` (a function) takes, or ``None``, and those made from the request.

    Raises ``TypeError`` for an action that takes more than one model of its input, or claims that may be absent.
    """
    annotations = [each.annotation for each in signature_of(action).parameters.values()]
    bare = [get_args(each)[0] if get_origin(each) is Annotated else each for each in annotations]
    for annotation in bare:
        if any(is_made_from_request(each) for each in get_args(annotation)):
            raise TypeError(f"{action.__qualname__}: claims are a parameter by themselves, and not optional")
    models = [each for each in bare if is_model(each)]
    made = tuple(each for each in models if is_made_from_request(each))
    read = [each for each in models if each not in made]
    if len(read) > 1:
        advice = "those of claims are subclasses of zuplo_origin.claims.Claims"
        raise TypeError(f"{action.__qualname__} takes {len(read)} models; an action takes one: {advice}")
    return (read[0] if read else None), made


def read_model(model: Any, request: Any) -> Any:
    """Return an instance of ``model``, from the body or the query string of ``request``.

    Raises ``ValidationFailed`` (422) with every fault, ``[{"field": "items.0.sku", "message": "…"}]``, and
    ``HttpException`` 400, 413 and 415 as for any other body.
    """
    validation_error: Any = sys.modules["pydantic"].ValidationError
    try:
        if request.get_request_method() not in WITH_BODY:
            return _from_fields(model, request.input_bag.query_string)
        if request.content.is_json:
            return model.model_validate_json(_exact(model, request.content.raw(), request.content.json()))
        return _from_fields(model, request.content.fields())
    except validation_error as error:
        raise ValidationFailed(_faults(error)) from None


def _from_fields(model: Any, fields: Mapping[str, Any]) -> Any:
    """Validate the fields of a form or a query string, whose values are strings, or lists of strings."""
    values = {name: value for name, value in fields.items() if _is_text(value)}
    for name, field in model.model_fields.items():
        key = field.alias or name
        if isinstance(values.get(key), str) and _is_list(field.annotation):
            values[key] = [values[key]]
    return model.model_validate_json(json.dumps(values), strict=False)  # a strict model takes "5" for a number here


def _is_text(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_text(each) for each in value.values())
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _is_list(annotation: Any) -> bool:
    if get_origin(annotation) in (list, set, tuple, frozenset):
        return True
    return any(_is_list(each) for each in get_args(annotation))


def _faults(error: Any) -> list[dict[str, str]]:
    """Return the faults of a validation error. One of the whole input has the field ``""``."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        {"field": ".".join(map(str, each["loc"])), "message": each["msg"].removeprefix("Value error, ")}
        for each in found
    ]


class _Number(float):
    """A JSON number with a fraction or an exponent, and how it is spelled."""

    text: str

    @classmethod
    def of(cls, text: str) -> "_Number":
        number = cls(text)
        number.text = text
        return number


def _exact(model: Any, body: bytes, value: Any) -> bytes:
    """Return ``body`` with the numbers of its ``Decimal`` fields as strings, which pydantic takes digit for digit.

    pydantic reads a JSON number as a float: ``1.10`` would become ``Decimal("1.1")``.
    """
    if not _has_decimal(model):
        return body
    exact = json.loads(body, parse_float=_Number.of)
    return json.dumps(_with_strings(model, exact), ensure_ascii=False).encode("utf-8")


@lru_cache(maxsize=256)
def _has_decimal(model: Any) -> bool:
    return _mentions_decimal(model, set())


def _mentions_decimal(annotation: Any, seen: set[Any]) -> bool:
    if annotation is Decimal:
        return True
    if is_model(annotation):
        if annotation in seen:
            return False
        seen.add(annotation)
        return any(_mentions_decimal(field.annotation, seen) for field in annotation.model_fields.values())
    return any(_mentions_decimal(each, seen) for each in get_args(annotation))


def _with_strings(annotation: Any, value: Any) -> Any:
    """Return ``value`` with its numbers as strings at the places for which ``annotation`` has ``Decimal``."""
    if isinstance(value, _Number):
        return value.text if annotation is Decimal or Decimal in get_args(annotation) else value
    if is_model(annotation) and isinstance(value, dict):
        fields = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        return {name: _with_strings(fields.get(name), each) for name, each in value.items()}
    arguments = get_args(annotation)
    if isinstance(value, list) and get_origin(annotation) in (list, set, tuple, frozenset):
        return [_with_strings(arguments[0], each) for each in value]
    if isinstance(value, dict) and get_origin(annotation) is dict:
        return {name: _with_strings(arguments[1], each) for name, each in value.items()}
    for each in arguments:  # of an optional or another union
        value = _with_strings(each, value)
    return value
