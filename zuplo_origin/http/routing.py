"""Routes: their patterns, the tree that looks them up, and their middleware."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any

from masonite.exceptions import RouteMiddlewareNotFound
from masonite.middleware import MiddlewareCapsule
from masonite.routes import HTTPRoute
from masonite.routes import Router as MasoniteRouter
from masonite.utils.collections import flatten

from .actions import accepted_types, reads_no_body, success_status
from .content import size_of
from .errors import HttpException, MethodNotAllowedException, RouteNotFoundException
from .typed import models_of

_SEGMENT = "([^/]+)"
"""Pattern of a parameter without a compiler. Masonite's matches letters, digits, dots and hyphens only."""
_MASONITE_DEFAULT = r"([\w.-]+)"
LARGEST = 2**63 - 1
"""The largest number that the compiler ``int`` matches: for a larger one, drivers of databases raise an exception."""
_DOT_SEGMENTS = frozenset({".", ".."})
"""Parts of a path that match nothing: clients and proxies resolve them (RFC 3986, section 5.2.4)."""
BODY, PUBLIC = "body", "public"
"""Keys of middleware that only declares something: the largest body, and that a route needs no guard."""
_REST = "(.*)"
"""The pattern of Masonite's compiler ``any``, which matches slashes too if it is the last part of a URL."""


class RouteError(Exception):
    """An invalid route. Raised when it is registered."""


@dataclass(frozen=True)
class _Part:
    """One part of a URL between slashes: a literal, or a parameter with its pattern."""

    literal: str | None
    name: str = ""
    pattern: str = ""
    cast: str = ""


class RoutePattern:
    """A route, its position in the order of registration, and the parts of its URL.

    As in Masonite, a part is ``@name`` or ``@name:compiler`` for a parameter, ``?name`` for an optional parameter (as
    the last part only), or a literal. Raises ``RouteError`` for any other URL.
    """

    def __init__(self, order: int, route: Any) -> None:
        self.order, self.route = order, route
        self.optional = False
        self.parts = [self._part(part) for part in route.url.split("/")[1:]]
        if any(part.pattern == "?" for part in self.parts):
            raise RouteError(f"{route.url}: an optional parameter must be the last part of the URL")
        self.is_fallback = len(self.parts) == 1 and self.parts[0].pattern == _REST
        self._named = [part for part in self.parts if part.literal is None]

    @property
    def shapes(self) -> set[tuple[str, ...]]:
        """The paths that match, without the names of parameters: ``/a/@x`` and ``/a/@y`` have the same shape."""
        shape = tuple(f"/{part.literal}" if part.literal is not None else part.pattern for part in self.parts)
        return {shape, shape[:-1]} if self.optional else {shape}

    def _part(self, text: str) -> _Part:
        if text[:1] not in ("@", "?"):
            if "@" in text or "?" in text:
                raise RouteError(f"{self.route.url}: a parameter must be a whole part of the URL, between two slashes")
            return _Part(text)
        name, _, compiler = text[1:].partition(":")
        if compiler and compiler not in self.route.compilers:
            raise RouteError(f"{self.route.url}: unknown route compiler '{compiler}'")
        if text[0] == "?":
            if not self.route.url.endswith(f"/{text}"):
                return _Part(None, name, "?")
            self.optional = True
        pattern = self.route.compilers[compiler or "default"]
        return _Part(None, name, _SEGMENT if pattern == _MASONITE_DEFAULT else pattern, compiler)

    def parameters(self, values: list[str]) -> dict[str, Any]:
        """Return the parameters by name, cast as the route declares with ``casts()``."""
        names = self._named
        if not names:
            return {}
        found: dict[str, Any] = {part.name: value for part, value in zip(names, values, strict=False)}
        for part in names[: len(values)]:
            if part.cast in ("int", "integer"):
                found[part.name] = _whole(found[part.name])
        if self.route._should_cast:
            for part in names[: len(values)]:
                cast = self.route._casts_map.get(part.name, self.route._base_casts_map.get(part.cast, str))
                found[part.name] = cast(found[part.name])
        for part in names[len(values) :]:
            found[part.name] = None
        return found


def label(route: Any) -> str:
    """Return a route as ``GET /orders/@id``, for messages."""
    return f"{next((each for each in route.request_method if each != 'head'), 'head').upper()} {route.url}"


def _record_places() -> None:
    """Let each route keep file and line of the call that made it, as ``place``, for messages."""
    find_controller = HTTPRoute._find_controller

    def recorded(self: Any, controller: Any) -> None:
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("masonite."):
            frame = frame.f_back
        self.place = frame.f_code.co_filename, frame.f_lineno
        if isinstance(controller, str) and controller.count("@") > 1:
            raise RouteError(f"{self.url}: {controller!r} is not Controller@action")
        find_controller(self, controller)

    HTTPRoute._find_controller = recorded


_record_places()


@contextmanager
def _naming_its_place(route: Any) -> Iterator[None]:
    """Give an exception the place of ``route``."""
    try:
        yield
    except Exception as error:
        error.place = getattr(route, "place", None)  # type: ignore[attr-defined]
        raise


def _keys(route: Any) -> set[tuple[str, tuple[str, ...]]]:
    """Return the methods and shapes of a route, of which no other route may have one."""
    methods = [each for each in route.request_method if each != "head" or len(route.request_method) == 1]
    return {(method, shape) for shape in RoutePattern(0, route).shapes for method in methods}


def _whole(text: str) -> int:
    """Return the number that ``text`` spells. Raises ``ValueError`` for one that no database's column holds."""
    number = int(text)
    if number > LARGEST:
        raise ValueError(f"a number above {LARGEST}")
    return number


@dataclass
class _Node:
    """A node of the tree: the parts that can follow, and the routes that end here."""

    literal: dict[str, "_Node"] = field(default_factory=dict)
    parameter: dict[str, "_Node"] = field(default_factory=dict)
    rest: list[RoutePattern] = field(default_factory=list)
    ends: list[RoutePattern] = field(default_factory=list)


class RouteTree:
    """All routes by the parts of their URLs. The cost of a look-up depends on the path, not on the number of routes."""

    def __init__(self, routes: list[Any]) -> None:
        self._root = _Node()
        self._compiled: dict[str, re.Pattern[str]] = {}
        for order, route in enumerate(routes):
            self._add(RoutePattern(order, route))
        # the paths of routes without parameters are looked up once, now
        self._literal_paths = {route.url: self._find(route.url) for route in routes if "@" not in route.url}

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
        """Return the patterns that match ``path``, each with its values, in the order of registration."""
        return self._literal_paths.get(path) or self._find(path)

    def _find(self, path: str) -> list[tuple[RoutePattern, list[str]]]:
        parts = path.split("/")[1:]
        if not path.startswith("/") or ("/." in path and not _DOT_SEGMENTS.isdisjoint(parts)):
            return []
        found = list(self._walk(self._root, parts, 0, []))
        if len(found) > 1:
            found.sort(key=lambda match: (match[0].is_fallback, match[0].order))
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


class Declaration:
    """Middleware that does nothing when a request arrives."""

    def before(self, request: Any, response: Any, *arguments: str) -> Any:
        return request

    def after(self, request: Any, response: Any, *arguments: str) -> Any:
        return request


_DECLARATIONS = {BODY: [Declaration], PUBLIC: [Declaration]}
"""Middleware of every application, by key. The Kernel may register another under the same key."""


class Middlewares(MiddlewareCapsule):
    """The registered middleware.

    A route specifies middleware as ``"jwt"`` or ``"jwt:read:orders,write:orders"``: a key of the Kernel, and after the
    first colon its arguments, which are passed unchanged. In Masonite, an argument with ``@`` is replaced by a value
    from the request, and one with a colon raises for every request.
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

    def classes(self) -> list[Any]:
        """Return the classes of all registered middleware."""
        found = list(self.http_middleware)
        for registered in self.route_middleware.values():
            found += registered if isinstance(registered, list) else [registered]
        return found

    def classes_for(self, specification: str) -> tuple[list[type], tuple[str, ...]]:
        """Return the middleware classes for ``specification`` and their arguments.

        Raises ``RouteMiddlewareNotFound`` if the Kernel registers no middleware under the key.
        """
        known = self._known.get(specification)
        if known is not None:
            return known
        key, _, arguments = specification.partition(":")
        found = self.route_middleware.get(key, _DECLARATIONS.get(key))
        classes: list[Any] = found if isinstance(found, list) else [found]
        if not classes or None in classes:
            raise RouteMiddlewareNotFound(f"no middleware is registered in the Kernel under the key '{key}'")
        self._known[specification] = classes, tuple(arguments.split(",")) if arguments else ()
        return self._known[specification]

    def run_route_middleware(
        self, middlewares: list[str], request: Any, response: Any, callback: str = "before"
    ) -> bool:
        """Run ``callback`` of each. Return ``False`` as soon as one does not return the request."""
        for specification in middlewares:
            classes, arguments = self.classes_for(specification)
            for middleware in classes:
                if getattr(middleware(), callback)(request, response, *arguments) is not request:
                    return False
        return True

    def run_http_middleware(self, request: Any, response: Any, callback: str = "before") -> bool:
        """Run ``callback`` of the middleware for all requests, including those that match no route."""
        return all(getattr(middleware(), callback)(request, response) is request for middleware in self.http_middleware)


class Router(MasoniteRouter):
    """The routes. If several match, the one registered first is used, as in Masonite.

    Two routes of one method and one path raise, whatever their parameters are called. ``/a/@x:int`` and ``/a/@x`` are
    two paths.

    Paths are compared exactly: ``/orders/`` is not ``/orders``, and a dot is literal. An invalid route raises when
    it is added, not when it is first requested.
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
        """Register routes or lists of routes. Raises ``RouteError`` if one is invalid."""
        added = flatten(list(routes))
        for route in added:
            with _naming_its_place(route):
                self._check(route)
        taken: dict[Any, Any] = {}
        for route in self._routes:
            taken |= dict.fromkeys(_keys(route), route)
        for route in added:
            keys = _keys(route)
            for key in keys:
                if key in taken:
                    with _naming_its_place(route):
                        raise RouteError(
                            f"{label(route)} and {label(taken[key])} are the same route; remove one of them"
                        )
            taken |= dict.fromkeys(keys, route)
        self.routes = [*self._routes, *added]

    def collision(self, route: Any) -> Any:
        """Return the registered route that has a method and the path of ``route``; ``None`` if there is none."""
        return next((each for each in self._routes if _keys(route) & _keys(each)), None)

    def set(self, *routes: Any) -> None:
        """Replace all routes."""
        self.routes = []
        self.add(*routes)

    def match(self, path: str, method: str) -> tuple[Any, dict[str, Any]]:
        """Return the route for ``method`` and ``path``, and its parameters in the order of the path.

        Raises ``HttpException``: 404 if no route matches the path; 405 with ``Allow`` if none of those has the method.
        """
        if self._tree is None:
            self._tree = RouteTree(self._routes)
        wanted, allowed = method.lower(), set()
        for pattern, values in self._tree.find(path):
            methods = pattern.route.request_method
            try:
                parameters = pattern.parameters(values)
            except ValueError:
                continue  # a value that cannot be cast does not match
            if wanted in methods and method.isupper():
                return pattern.route, parameters
            allowed.update(methods)
        if not allowed:
            raise RouteNotFoundException(path, method)
        listed = ", ".join(sorted(name.upper() for name in {*allowed, "options"}))
        raise MethodNotAllowedException(listed, method)

    def find(self, path: str, request_method: str, subdomain: str | None = None) -> Any:
        """Return the route; ``None`` if no route matches the path (Masonite's contract)."""
        try:
            return self.match(path, request_method.upper())[0]
        except HttpException as exception:
            if exception.status == 404:
                return None
            raise

    def open_routes(self) -> list[str]:
        """Return the routes that are neither guarded nor declared as ``public``, as ``GET /orders``."""
        return [
            label(route)
            for route in self._routes
            if not {"jwt", "claims", PUBLIC} & {each.partition(":")[0] for each in route.get_middlewares()}
        ]

    def nearest(self, path: str, method: str | None = None) -> str | None:
        """Return the URL of the route, with ``method``, that is most similar to ``path``; ``None`` if none is."""
        routes = [route for route in self._routes if method is None or method.lower() in route.request_method]
        found = get_close_matches(path, [route.url for route in routes], 1)
        return found[0] if found else None

    def _check(self, route: Any) -> None:
        if "{" in route.url:
            raise RouteError(f"{route.url}: a parameter is spelled @id, not {{id}}")
        RoutePattern(0, route)
        if route._domain is not None:
            raise RouteError(f"{route.url}: routes for a domain are not supported")
        controller = route.controller_instance or route.controller_class
        if route.e or not callable(getattr(controller, route.controller_method or "", None)):
            raise RouteError(f"{route.url}: there is no controller action {route.controller!r}")
        action = getattr(controller, route.controller_method)
        if iscoroutinefunction(action) or isasyncgenfunction(action):
            raise RouteError(f"{route.url}: {route.controller_method} is async; actions run in threads, without await")
        try:
            route.model, route.request_models = models_of(getattr(action, "__func__", action))
        except TypeError as error:
            raise RouteError(f"{route.url}: {error}") from None
        if route.model is not None and reads_no_body(action) and {"post", "put", "patch"} & set(route.request_method):
            name = route.model.__name__
            raise RouteError(
                f"{route.url}: @accepts() declares no body, but {name} is read from it; remove one of them"
            )
        route.success_status, route.accepted_types = success_status(action), accepted_types(action)
        route.body_limit = None
        keys = {each.partition(":")[0] for each in route.get_middlewares()}
        if PUBLIC in keys and keys & {"jwt", "claims"}:
            raise RouteError(f"{route.url}: it is declared public, and guarded; remove one of them")
        for specification in route.get_middlewares():
            key, colon, arguments = specification.partition(":")
            if colon and not all(arguments.split(",")):  # an empty constant in an f-string would require nothing
                raise RouteError(f"{route.url}: {specification!r}: an argument is empty")
            classes, checked = self._middlewares.classes_for(specification)
            for middleware in classes:
                try:
                    getattr(middleware, "check_arguments", len)(checked)
                except ValueError as error:
                    raise RouteError(f"{route.url}: {specification!r}: {error}") from None
            if any(argument.startswith("@") for argument in arguments.split(",")):
                raise RouteError(f"{route.url}: {specification!r}: remove the @: arguments are not read from requests")
            if re.search(r"\s", arguments):
                raise RouteError(f"{route.url}: {specification!r}: arguments are separated by commas, without spaces")
            if key == BODY:
                try:
                    route.body_limit = size_of(arguments)
                except ValueError as error:
                    raise RouteError(f"{route.url}: {error}") from None
