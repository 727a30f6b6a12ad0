"""The files that ``craft protected:make`` writes: a guarded controller, its route and its test."""

import ast
import keyword
import re
from dataclasses import dataclass
from types import SimpleNamespace

from masonite.routes import Route

from zuplo_origin.http.routing import RouteError, RoutePattern

ACTION = "show"
PATH = re.compile(r"(/([A-Za-z0-9._~-]+|[@?]\w+(:\w+)?))+", re.ASCII)
CONSOLE = re.compile("/console(/|$)")
SCOPE = re.compile(r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]+")
"""A scope token (RFC 6749, section 3.3) without a comma, which separates scopes in a route."""

CONTROLLER = """from typing import Any

from masonite.controllers import Controller
from masonite.request import Request


class {controller}(Controller):
    def show(self, request: Request{parameters}) -> Any:
        return {{{body}}}
"""
TEST = """from zuplo_origin.testing import TestCase


class {name}Test(TestCase):
    def test_{subject}_returns_the_claims_of_the_caller(self):
        response = self.acting_as({scope}sub="user-1").get("{example}")

        response.assertOk().assertJsonPath("message", "{name}").assertJsonPath("user.sub", "user-1")

    def test_{subject}_rejects_a_request_without_a_token(self):
        self.get("{example}").assertUnauthorized()
"""
SCOPE_TEST = """
    def test_{subject}_rejects_a_token_without_the_scope(self):
        self.acting_as(scope="something:else").get("{example}").assertForbidden()
"""


class InvalidRoute(ValueError):
    """A name, path or scope that a route cannot have. The message gives the reason."""


class UnsupportedRoutesFile(ValueError):
    """A routes file to which a route cannot be added automatically. The message gives the reason."""


@dataclass(frozen=True)
class GuardedRoute:
    """A route with the ``jwt`` middleware, and the controller and the test that belong to it.

    ``name`` is the controller's name without ``Controller``, ``path`` is written as in ``Route.get``.
    """

    name: str
    path: str
    scopes: tuple[str, ...]
    parameters: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str, path: str | None, scopes: str) -> "GuardedRoute":
        """Return the route for the arguments of ``protected:make``. ``scopes`` are separated by commas.

        ``OrdersController`` and ``orders`` are both ``Orders``; the default path is ``/orders``.

        Raises:
            InvalidRoute: one of the arguments is invalid.
        """
        name = name.removesuffix("Controller")
        if not re.fullmatch("[A-Za-z][A-Za-z0-9]*", name):
            raise InvalidRoute(f"invalid name {name!r}; expected letters and digits, as in Orders")
        name = name[0].upper() + name[1:]
        path = path or "/" + _underscored(name).replace("_", "-")
        if not PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise InvalidRoute(
                f"invalid path {path!r}; expected segments of letters, digits and -._~, as in /orders/@id/items"
            )
        if CONSOLE.match(path):
            raise InvalidRoute(f"invalid path {path!r}; /console is reserved for the development console")
        names = tuple(scope.strip() for scope in scopes.split(",") if scope.strip())
        for scope in names:
            if not SCOPE.fullmatch(scope):
                raise InvalidRoute(f"invalid scope {scope!r}; expected printable ASCII without spaces, quotes or \\")
        return cls(name, path, names, _parameters(path))

    @property
    def controller(self) -> str:
        return f"{self.name}Controller"

    @property
    def controller_file(self) -> str:
        return f"app/controllers/{self.controller}.py"

    @property
    def test_file(self) -> str:
        return f"tests/test_{_underscored(self.name)}.py"

    @property
    def import_line(self) -> str:
        return f"from app.controllers.{self.controller} import {self.controller}"

    @property
    def route_line(self) -> str:
        """The route, as an element of ``ROUTES``."""
        guard = ":".join(["jwt", ",".join(self.scopes)]) if self.scopes else "jwt"
        return f'Route.get("{self.path}", {self.controller}.{ACTION}).middleware("{guard}"),'

    @property
    def example(self) -> str:
        """A path that matches the route."""
        segments = []
        for part in _pattern(self.path).parts:
            matching = (value for value in ("1", "a") if re.fullmatch(part.pattern, value))
            segments.append(next(matching, "a") if part.literal is None else part.literal)
        return "/" + "/".join(segments)

    def controller_text(self) -> str:
        names = [f'"{name}": {name}' for name in self.parameters]
        return CONTROLLER.format(
            controller=self.controller,
            parameters="".join(f", {name}: str" for name in self.parameters),
            body=", ".join([f'"message": "{self.name}"', *names, '"user": request.user()']),
        )

    def test_text(self) -> str:
        scope = f'scope="{" ".join(self.scopes)}", ' if self.scopes else ""
        template = TEST + SCOPE_TEST if self.scopes else TEST
        return template.format(name=self.name, subject=_underscored(self.name), example=self.example, scope=scope)


def add_route(text: str, import_line: str, route_line: str) -> str:
    """Return ``text``, a routes file, with an import and a route added.

    Raises:
        UnsupportedRoutesFile: the file has no list ``ROUTES = [`` that ends on a line of its own, or it imports no
            controller.
    """
    lines = text.splitlines()
    imports = [number for number, line in enumerate(lines) if re.match(r"from app\.controllers\.\w+ import ", line)]
    start = next((number for number, line in enumerate(lines) if re.fullmatch(r"ROUTES = \[\s*", line)), None)
    if not imports:
        raise UnsupportedRoutesFile("it has no line `from app.controllers.… import …`")
    if start is None:
        raise UnsupportedRoutesFile("it has no line `ROUTES = [`")
    end = next((number for number in range(start, len(lines)) if lines[number].rstrip() == "]"), None)
    if end is None:
        raise UnsupportedRoutesFile("ROUTES does not end with a line `]`")
    lines.insert(end, f"    {route_line}")
    smaller = [number for number in imports if lines[number] < import_line]
    lines.insert(smaller[-1] + 1 if smaller else imports[0], import_line)
    added = "\n".join(lines) + "\n"
    try:
        ast.parse(added)
    except SyntaxError:
        raise UnsupportedRoutesFile("it would not compile with one more route: end the last one with a comma") from None
    return added


def _underscored(name: str) -> str:
    """Return ``order_items`` for ``OrderItems``."""
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _pattern(path: str) -> RoutePattern:
    return RoutePattern(0, SimpleNamespace(url=path, compilers=Route.compilers))


def _parameters(path: str) -> tuple[str, ...]:
    try:
        names = [part.name for part in _pattern(path).parts if part.literal is None]
    except RouteError as error:
        raise InvalidRoute(str(error)) from None
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name) or name in ("self", "request"):
            raise InvalidRoute(f"invalid parameter name {name!r}")
    if len(set(names)) < len(names):
        raise InvalidRoute(f"{path!r} has two parameters of the same name")
    return tuple(names)
