"""What a route's URL takes, and a tree of many of them that is walked once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_REST = "(.*)"
"""Masonite's compiler ``any``: as the last part of a URL it takes slashes too."""


class RouteError(Exception):
    """A route that cannot work, found as it is registered."""


@dataclass(frozen=True)
class _Part:
    """One part of a URL, between slashes: a literal, or a parameter with its pattern."""

    literal: str | None
    name: str = ""
    pattern: str = ""
    cast: str = ""


class RoutePattern:
    """A route, its place in the order of registration, and the parts of its URL.

    Masonite's spelling: ``@name`` or ``@name:compiler`` for a parameter, ``?name`` for one that may be missing, at the
    end only. Anything else is literal.

    Raises ``RouteError`` where the URL is none of this.
    """

    def __init__(self, order: int, route: Any) -> None:
        self.order, self.route = order, route
        self.optional = False
        self.parts = [self._part(part) for part in route.url.split("/")[1:]]
        if any(part.pattern == "?" for part in self.parts):
            raise RouteError(f"{route.url}: a parameter that may be missing stands at the end, and alone in its part")
        self._named = [part for part in self.parts if part.literal is None]

    def _part(self, text: str) -> _Part:
        if text[:1] not in ("@", "?"):
            if "@" in text or "?" in text:
                raise RouteError(f"{self.route.url}: a parameter fills the whole part between two slashes")
            return _Part(text)
        name, _, compiler = text[1:].partition(":")
        if compiler and compiler not in self.route.compilers:
            raise RouteError(f"{self.route.url}: there is no route compiler '{compiler}'")
        if text[0] == "?":
            if not self.route.url.endswith(f"/{text}"):
                return _Part(None, name, "?")
            self.optional = True
        return _Part(None, name, self.route.compilers[compiler or "default"], compiler)

    def parameters(self, values: list[str]) -> dict[str, Any]:
        """Return the parameters by name, cast where the route says so with ``casts()``."""
        names = self._named
        if not names:
            return {}
        found: dict[str, Any] = {part.name: value for part, value in zip(names, values, strict=False)}
        if self.route._should_cast:
            for part in names[: len(values)]:
                cast = self.route._casts_map.get(part.name, self.route._base_casts_map.get(part.cast, str))
                found[part.name] = cast(found[part.name])
        for part in names[len(values) :]:
            found[part.name] = None
        return found


@dataclass
class _Node:
    """What can follow on the parts walked so far."""

    literal: dict[str, "_Node"] = field(default_factory=dict)
    parameter: dict[str, "_Node"] = field(default_factory=dict)
    rest: list[RoutePattern] = field(default_factory=list)
    ends: list[RoutePattern] = field(default_factory=list)


class RouteTree:
    """All routes, by the parts of their URLs: a look-up costs by the path's parts, not by the number of routes."""

    def __init__(self, routes: list[Any]) -> None:
        self._root = _Node()
        self._compiled: dict[str, re.Pattern[str]] = {}
        for order, route in enumerate(routes):
            self._add(RoutePattern(order, route))
        # most requests are for a path that some route spells out: those walks are made now
        self._walked = {route.url: self._find(route.url) for route in routes if "@" not in route.url}

    def _add(self, pattern: RoutePattern) -> None:
        node = self._root
        for index, part in enumerate(pattern.parts):
            last = index == len(pattern.parts) - 1
            if last and pattern.optional:
                node.ends.append(pattern)
            if last and part.pattern == _REST:
                node.rest.append(pattern)
                return
            if part.literal is not None:
                node = node.literal.setdefault(part.literal, _Node())
            else:
                self._compiled.setdefault(part.pattern, re.compile(part.pattern))
                node = node.parameter.setdefault(part.pattern, _Node())
        node.ends.append(pattern)

    def find(self, path: str) -> list[tuple[RoutePattern, list[str]]]:
        """Return the patterns that take the whole of ``path``, each with its values, in the order of registration."""
        return self._walked.get(path) or self._find(path)

    def _find(self, path: str) -> list[tuple[RoutePattern, list[str]]]:
        if not path.startswith("/"):
            return []
        found = list(self._walk(self._root, path.split("/")[1:], 0, []))
        if len(found) > 1:
            found.sort(key=lambda match: match[0].order)
        return found

    def _walk(
        self, node: _Node, parts: list[str], at: int, values: list[str]
    ) -> Iterator[tuple[RoutePattern, list[str]]]:
        if at == len(parts):
            for pattern in node.ends:
                yield pattern, values
            return
        for pattern in node.rest:
            yield pattern, [*values, "/".join(parts[at:])]
        literal = node.literal.get(parts[at])
        if literal is not None:
            yield from self._walk(literal, parts, at + 1, values)
        for text, following in node.parameter.items():
            if self._compiled[text].fullmatch(parts[at]):
                yield from self._walk(following, parts, at + 1, [*values, parts[at]])
