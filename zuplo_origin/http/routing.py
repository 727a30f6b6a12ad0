"""Routes: patterns, the tree that finds one, and the middleware of each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from masonite.exceptions import RouteMiddlewareNotFound
from masonite.middleware import MiddlewareCapsule
from masonite.routes import Router as MasoniteRouter
from masonite.utils.collections import flatten

from .errors import HttpException

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


class Middlewares(MiddlewareCapsule):
    """The registered middleware.

    A route names them as ``"jwt"`` or ``"jwt:read:orders,write:orders"``: a key of the Kernel's, and arguments behind
    the first colon. Arguments are taken as they stand: in Masonite's own, one with ``@`` is read out of what the
    client sent, and one with a colon is an error of every request.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, tuple[list[type], tuple[str, ...]]] = {}

    def add(self, middleware: Any) -> "Middlewares":
        self._known = {}
        super().add(middleware)
        return self

    def remove(self, middleware: Any) -> "Middlewares":
        self._known = {}
        super().remove(middleware)
        return self

    def classes_for(self, specification: str) -> tuple[list[type], tuple[str, ...]]:
        """Return the classes behind ``specification`` and the arguments for them.

        Raises ``RouteMiddlewareNotFound`` for a key that the Kernel does not register, or registers nothing under.
        """
        known = self._known.get(specification)
        if known is not None:
            return known
        key, _, arguments = specification.partition(":")
        found = self.route_middleware.get(key)
        classes = found if isinstance(found, list) else [found]
        if not classes or None in classes:
            raise RouteMiddlewareNotFound(f"no middleware is registered in the Kernel under the key '{key}'")
        self._known[specification] = classes, tuple(arguments.split(",")) if arguments else ()
        return self._known[specification]

    def run_route_middleware(
        self, middlewares: list[str], request: Any, response: Any, callback: str = "before"
    ) -> bool:
        """Run ``callback`` of each; ``False`` as soon as one does not hand the request on."""
        for specification in middlewares:
            classes, arguments = self.classes_for(specification)
            for middleware in classes:
                if getattr(middleware(), callback)(request, response, *arguments) is not request:
                    return False
        return True

    def run_http_middleware(self, request: Any, response: Any, callback: str = "before") -> bool:
        """The same for those that run for every request, whether it has a route or not."""
        return all(getattr(middleware(), callback)(request, response) is request for middleware in self.http_middleware)


class Router(MasoniteRouter):
    """The routes. Of several that match, the one registered first is taken, as in Masonite.

    A path is compared as it is: ``/orders/`` is not ``/orders``, and a dot stands for itself. What cannot work is said
    as a route is added, not when the first client asks for it.
    """

    def __init__(self, middlewares: Middlewares) -> None:
        self._middlewares = middlewares
        self._routes: list[Any] = []
        self._tree: RouteTree | None = None
        super().__init__()

    @property
    def routes(self) -> list[Any]:
        return self._routes

    @routes.setter
    def routes(self, routes: list[Any]) -> None:
        self._routes, self._tree = routes, None

    def add(self, *routes: Any) -> None:
        """Register routes, one or lists of them; ``RouteError`` where one cannot work."""
        added = flatten(list(routes))
        for route in added:
            self._check(route)
        self.routes = [*self._routes, *added]

    def set(self, *routes: Any) -> None:
        """Register routes in place of those there were."""
        self.routes = []
        self.add(*routes)

    def match(self, path: str, method: str) -> tuple[Any, dict[str, Any]]:
        """Return the route for ``method`` and ``path``, and the path's parameters in their order.

        Raises ``HttpException``: 404 where no route has the path, 405 with ``Allow`` where none of them has the method.
        """
        if self._tree is None:
            self._tree = RouteTree(self._routes)
        wanted, allowed = method.lower(), set()
        for pattern, values in self._tree.find(path):
            methods = pattern.route.request_method
            try:
                parameters = pattern.parameters(values)
            except ValueError:
                continue  # the route asks for a cast that these values do not allow
            if wanted in methods and method.isupper():
                return pattern.route, parameters
            allowed.update(methods)
        if not allowed:
            raise HttpException(404)
        listed = ", ".join(sorted(name.upper() for name in {*allowed, "options"}))
        raise HttpException(405, headers={"Allow": listed})

    def find(self, path: str, request_method: str, subdomain: str | None = None) -> Any:
        """Return the route alone, ``None`` where there is none (Masonite's contract)."""
        try:
            return self.match(path, request_method)[0]
        except HttpException as exception:
            if exception.status == 404:
                return None
            raise

    def _check(self, route: Any) -> None:
        RoutePattern(0, route)
        if route._domain is not None:
            raise RouteError(f"{route.url}: routes of a domain are not supported")
        controller = route.controller_instance or route.controller_class
        if route.e or not callable(getattr(controller, route.controller_method or "", None)):
            raise RouteError(f"{route.url}: there is no controller action {route.controller!r}")
        for specification in route.get_middlewares():
            self._middlewares.classes_for(specification)
