"""What a line of the log tells."""

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
