"""Templates for a guarded controller, its route and its test."""

import ast
import keyword
import re
from dataclasses import dataclass
from types import SimpleNamespace

from masonite.routes import Route

from zuplo_origin.http.routing import RouteError, RoutePattern


class UnknownForm(ValueError):
    """The file is not written as expected: there is nothing to add to."""


def with_route(text: str, imported: str, route: str) -> str:
    """Return ``text``, the file, with the line ``imported`` and the route ``route`` added.

    Raises ``UnknownForm`` where it has no list ``ROUTES = [``, closed on a line of its own, or no import of a
    controller to stand beside.
    """
    lines = text.splitlines()
    imports = [number for number, line in enumerate(lines) if re.match(r"from app\.controllers\.\w+ import ", line)]
    begin = next((number for number, line in enumerate(lines) if re.fullmatch(r"ROUTES = \[\s*", line)), None)
    if not imports:
        raise UnknownForm("no line of it imports a controller: from app.controllers.…")
    if begin is None:
        raise UnknownForm("it has no line ROUTES = [ with a route a line behind it")
    end = next((number for number in range(begin, len(lines)) if lines[number].rstrip() == "]"), None)
    if end is None:
        raise UnknownForm("its ROUTES end on no line of their own")
    lines.insert(end, f"    {route}")
    behind = [number for number in imports if lines[number] < imported]
    lines.insert(behind[-1] + 1 if behind else imports[0], imported)
    added = "\n".join(lines) + "\n"
    try:
        ast.parse(added)
    except SyntaxError:
        raise UnknownForm("one more line would break it: does its last route end with a comma?") from None
    return added


SCOPE = re.compile(r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]+")
"""A scope token (RFC 6749, section 3.3) without a comma: in a route, that stands between two scopes."""
PATH = re.compile(r"(/([A-Za-z0-9._~-]+|[@?]\w+(:\w+)?))+", re.ASCII)
RESERVED = re.compile("/console(/|$)")
ACTION = "show"


class BadBlueprint(ValueError):
    """What was asked for cannot be made. Its text says why."""


@dataclass(frozen=True)
class Blueprint:
    """``name`` is the controller's, without its suffix; ``path`` as in a route, ``scopes`` those that it asks for."""

    name: str
    path: str
    scopes: tuple[str, ...]
    parameters: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, path: str | None, scopes: str) -> "Blueprint":
        """Return the blueprint for a controller's ``name``, a route's ``path`` and ``scopes``, separated by commas.

        ``OrdersController`` and ``orders`` are both ``Orders``, whose path is ``/orders`` unless told otherwise.
        Raises ``BadBlueprint``.
        """
        name = name.removesuffix("Controller")
        if not re.fullmatch("[A-Za-z][A-Za-z0-9]*", name):
            raise BadBlueprint("a name has letters and digits alone, as in Orders")
        name = name[0].upper() + name[1:]
        path = path or "/" + _with_blanks(name).replace(" ", "-")
        if not PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise BadBlueprint(
                "a path is one as in /orders or /orders/@id/items: letters, digits and -._~ in each part"
            )
        if RESERVED.match(path):
            raise BadBlueprint(f"{path} belongs to the development console")
        asked = tuple(scope.strip() for scope in scopes.split(",") if scope.strip())
        for scope in asked:
            if not SCOPE.fullmatch(scope):
                raise BadBlueprint(f"{scope!r} is no scope")
        return cls(name, path, asked, _parameters(path))

    @property
    def controller(self) -> str:
        return f"{self.name}Controller"

    @property
    def controller_file(self) -> str:
        return f"app/controllers/{self.controller}.py"

    @property
    def test_file(self) -> str:
        return f"tests/test_{_with_blanks(self.name).replace(' ', '_')}.py"

    @property
    def route(self) -> str:
        """The line in ``routes/web.py``."""
        guard = ":".join(["jwt", ",".join(self.scopes)]) if self.scopes else "jwt"
        return f'Route.get("{self.path}", {self.controller}.{ACTION}).middleware("{guard}"),'

    @property
    def example(self) -> str:
        """A path that the route takes."""
        parts = []
        for part in _pattern(self.path).parts:
            fitting = (value for value in ("1", "a") if re.fullmatch(part.pattern, value))
            parts.append(next(fitting, "a") if part.literal is None else part.literal)
        return "/" + "/".join(parts)

    @property
    def imported(self) -> str:
        return f"from app.controllers.{self.controller} import {self.controller}"

    def controller_text(self) -> str:
        """Return the controller's file."""
        arguments = "".join(f", {name}: str" for name in self.parameters)
        answer = ", ".join(
            [f'"message": "{self.name}"', *(f'"{name}": {name}' for name in self.parameters), '"user": request.user()']
        )
        return CONTROLLER.format(
            name=self.name, controller=self.controller, who=self._who, arguments=arguments, answer=f"{{{answer}}}"
        )

    def test_text(self) -> str:
        """Return the test's file."""
        path = self.example
        text = TEST.format(name=self.name, route=self.path, who=self._who, path=path)
        if self.scopes:
            text += TEST_SCOPE.format(path=path)
        return text + TEST_LET_IN.format(name=self.name, path=path, scope=" ".join(self.scopes))

    @property
    def _who(self) -> str:
        if not self.scopes:
            return "callers with a valid token"
        return f"callers with the scope{'s' if len(self.scopes) > 1 else ''} {' and '.join(self.scopes)}"


CONTROLLER = '''"""{name}, for {who}."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request


class {controller}(Controller):
    """Answers {who}."""

    def show(self, request: Request{arguments}) -> Any:
        """{name}."""
        return {answer}
'''
TEST = '''"""{route} is for {who}."""

from zuplo_origin.testing import TestCase


class {name}Test(TestCase):
    def test_a_caller_without_a_token_is_refused(self):
        self.get("{path}").assertUnauthorized()
'''
TEST_SCOPE = """
    def test_a_caller_without_the_scope_is_refused(self):
        self.acting_as(scope="something:else").get("{path}").assertForbidden()
"""
TEST_LET_IN = """
    def test_a_caller_with_it_is_let_in(self):
        answer = self.acting_as(scope="{scope}", sub="user-1").get("{path}")

        answer.assertOk().assertJsonPath("message", "{name}").assertJsonPath("user.sub", "user-1")
"""


def _with_blanks(name: str) -> str:
    """``OrderItems`` as ``order items``."""
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()


def _pattern(path: str) -> RoutePattern:
    return RoutePattern(0, SimpleNamespace(url=path, compilers=Route.compilers))


def _parameters(path: str) -> tuple[str, ...]:
    """Return the names of the path's parameters; ``BadBlueprint`` where a route could not have it."""
    try:
        names = [part.name for part in _pattern(path).parts if part.literal is None]
    except RouteError as error:
        raise BadBlueprint(str(error)) from None
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name) or name in ("self", "request"):
            raise BadBlueprint(f"{name!r} cannot be the name of a parameter")
    if len(set(names)) < len(names):
        raise BadBlueprint("a parameter is named twice")
    return tuple(names)
