"""Structured log events, and the names of routes and methods in logs and metrics."""

from typing import Any


class Event:
    """A name and its fields, given to a logger in the place of a text: ``log.info(Event("jwks_rotated", keys=2))``.

    As a text it is ``jwks_rotated keys=2``; in JSON, the fields are members of their own.
    """

    __slots__ = ("fields", "name")

    def __init__(self, name: str, **fields: Any) -> None:
        self.name = name
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={_word(value)}" for name, value in self.fields.items())])


def _word(value: Any) -> str:
    text = str(value)
    return repr(text) if " " in text or not text else text


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def method_of(request: Any) -> str:
    """Return the method, ``other`` for one that no route could have."""
    method: str = request.environ["REQUEST_METHOD"]
    return method if method in _METHODS else "other"


def route_of(request: Any) -> str:
    """Return the route as it was registered, ``/orders/@id``; ``-`` where none was found."""
    return "-" if request.route is None else str(request.route.url)
