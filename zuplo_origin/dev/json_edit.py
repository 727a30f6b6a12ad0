"""Edit members of a JSON text, and leave every byte outside of them as it is."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"-?[0-9][0-9.eE+-]*|true|false|null")


@dataclass
class _Value:
    """A value in the text: from ``start`` to ``end``, with its members, by name in an object, by number in an array."""

    start: int
    end: int = 0
    members: "dict[str | int, _Member] | None" = None


@dataclass
class _Member:
    """A member of an object, whose name begins at ``start``, or of an array."""

    start: int
    value: _Value


@dataclass
class JsonText:
    """A JSON object as a text. Raises ``ValueError`` if ``text`` is not a JSON object, or has a member twice."""

    text: str
    value: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.value = json.loads(self.text.removeprefix("\ufeff"), object_pairs_hook=_unique)
        if not isinstance(self.value, dict):
            raise ValueError("it is not a JSON object")

    def insert(self, path: Sequence[str | int], value: Any, before: str) -> None:
        """Add the member at ``path``, which is not there yet, in front of its object's member ``before``."""
        holder = self._find(path[:-1])
        members = holder.members or {}
        at, between = members[before].start, self.text[holder.start + 1 : next(iter(members.values())).start]
        is_spread = "\n" in between
        name = json.dumps(path[-1], ensure_ascii=False)
        text = f"{name}: {self._spelled(value, len(path), is_spread)},{between if is_spread else ' '}"
        self._replace(at, at, text)

    def set(self, path: Sequence[str | int], value: Any) -> None:
        """Set the member at ``path``, and add the objects on the way to it."""
        for length in range(1, len(path)):
            if not isinstance(self.get(path[:length]), list if isinstance(path[length], int) else dict):
                rest: Any = value
                for name in reversed(path[length:]):
                    rest = {name: rest}
                self._put(path[:length], rest)
                return
        self._put(path, value)

    def update(self, path: Sequence[str | int], value: Any) -> None:
        """Make the member at ``path`` equal to ``value``, and change only the members in it that differ.

        Members whose names begin with ``x-`` are kept.
        """
        present = self.get(path)
        if isinstance(present, dict) and isinstance(value, dict) and present:
            for name in [each for each in present if each not in value and not each.startswith("x-")]:
                self.remove([*path, name])
            for name, each in value.items():
                self.update([*path, name], each)
        elif present is MISSING or not _is_same(present, value):
            self.set(path, value)

    def remove(self, path: Sequence[str | int]) -> None:
        """Remove the member at ``path``, with its comma. Does nothing if there is none."""
        if self.get(path) is MISSING:
            return
        holder = self._find(path[:-1])
        members = list((holder.members or {}).values())
        index = list(holder.members or {}).index(path[-1])
        if len(members) == 1:
            start, end = holder.start + 1, holder.end - 1
        elif index == 0:
            start, end = members[0].start, members[1].start
        else:
            start, end = members[index - 1].value.end, members[index].value.end
        self._replace(start, end, "")

    def get(self, path: Sequence[str | int]) -> Any:
        """Return the value at ``path``; ``MISSING`` if there is none."""
        value: Any = self.value
        for name in path:
            is_there = (
                name in value if isinstance(value, dict) else isinstance(value, list) and name in range(len(value))
            )
            if not is_there:
                return MISSING
            value = value[name]
        return value

    def append(self, path: Sequence[str | int], value: Any) -> None:
        """Append ``value`` to the array at ``path``."""
        if not self.get(path):
            self._put(path, [value])
            return
        found = self._find(path)
        inside = self.text[found.start + 1 : found.end - 1]
        is_spread = "\n" in inside[: len(inside) - len(inside.lstrip())]
        between = inside[: len(inside) - len(inside.lstrip())] if is_spread else " "
        end = found.start + 1 + len(inside.rstrip())
        self._replace(end, end, f",{between}{self._spelled(value, len(path) + 1, is_spread)}")

    def _put(self, path: Sequence[str | int], value: Any) -> None:
        holder = self._find(path[:-1])
        members = holder.members or {}
        depth = len(path)
        if path[-1] in members:
            found = members[path[-1]].value
            self._replace(found.start, found.end, self._spelled(value, depth, True))
            return
        name = json.dumps(path[-1], ensure_ascii=False)
        newline = self._newline()
        if not members:
            unit = self._unit()
            text = (
                f"{{{newline}{unit * depth}{name}: {self._spelled(value, depth, True)}{newline}{unit * (depth - 1)}}}"
            )
            self._replace(holder.start, holder.end, text)
            return
        last = list(members.values())[-1]
        between = self.text[holder.start + 1 : next(iter(members.values())).start]
        is_spread = "\n" in between
        text = f",{between if is_spread else ' '}{name}: {self._spelled(value, depth, is_spread)}"
        self._replace(last.value.end, last.value.end, text)

    def _spelled(self, value: Any, depth: int, is_spread: bool) -> str:
        if not is_spread:
            return json.dumps(value, ensure_ascii=False)
        unit = self._unit()
        lines = json.dumps(value, ensure_ascii=False, indent=unit).split("\n")
        return f"{self._newline()}{unit * depth}".join(lines)

    def _unit(self) -> str:
        found = re.match(r"\ufeff?\s*\{\s*?\n([ \t]+)\"", self.text)
        return found[1] if found else "  "

    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    def _replace(self, start: int, end: int, text: str) -> None:
        self.text = self.text[:start] + text + self.text[end:]
        self.__post_init__()

    def _find(self, path: Sequence[str | int]) -> _Value:
        found = _parse(self.text)
        for name in path:
            found = (found.members or {})[name].value
        return found


class _Missing:
    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the member {next(each for each in names if names.count(each) > 1)!r} is there twice")
    return value


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two values are the same JSON: ``True`` is not ``1``."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _parse(text: str) -> _Value:
    return _value(text, _skip(text, 1 if text.startswith("\ufeff") else 0))


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _value(text: str, at: int) -> _Value:
    """Return the value that begins at ``at``. The text is valid JSON."""
    found = _Value(at)
    if text[at] == '"':
        found.end = scanstring(text, at + 1)[1]
    elif text[at] in "{[":
        is_object, found.members = text[at] == "{", {}
        at = _skip(text, at + 1)
        while text[at] not in "}]":
            start, name = at, len(found.members)
            if is_object:
                name, at = scanstring(text, at + 1)
                at = _skip(text, _skip(text, at) + 1)
            value = _value(text, at)
            found.members[name] = _Member(start, value)
            at = _skip(text, value.end)
            if text[at] == ",":
                at = _skip(text, at + 1)
        found.end = at + 1
    else:
        found.end = _SCALAR.match(text, at).end()  # type: ignore[union-attr]
    return found
