"""The files that ``craft protected:make`` writes: a guarded controller, its routes and its tests."""

import ast
import keyword
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Template
from types import SimpleNamespace
from typing import Any

from inflection import camelize, singularize, underscore
from masonite.routes import Route

from zuplo_origin.http.routing import RouteError, RoutePattern

STUBS = Path(__file__).with_name("stubs")
ACTIONS = {"GET": "show", "POST": "store", "PUT": "update", "PATCH": "update", "DELETE": "destroy"}
"""The action of a controller for each method."""
WITH_BODY = ("POST", "PUT", "PATCH")
PATH = re.compile(r"(/([A-Za-z0-9._~-]+|[@?]\w+(:\w+)?))+", re.ASCII)
CONSOLE = re.compile("/console(/|$)")
SCOPE = re.compile(r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]+")
"""A scope token (RFC 6749, section 3.3) without a comma, which separates scopes in a route."""
LINE, LONGEST_NAME, LONGEST_TEXT = 120, 50, 100
"""Columns of a line; characters of a name, and of a path or all scopes, that fit into a line."""
USED = {"self", "request", "body", "number", "row", "key", "count"}
"""Names in the files that a parameter of the path would hide."""


class InvalidRoute(ValueError):
    """A name, path, method or scope that a route cannot have. The message gives the reason."""


class UnsupportedRoutesFile(ValueError):
    """A routes file to which a route cannot be added automatically. The message gives the reason."""


@dataclass(frozen=True)
class Action:
    """One route to add: its method, path, action and scopes."""

    method: str
    path: str
    name: str
    scopes: tuple[str, ...]

    @property
    def as_route(self) -> Any:
        """The route as the router compares it with others."""
        return SimpleNamespace(url=self.path, request_method=[self.method.lower()], compilers=Route.compilers)

    @property
    def example(self) -> str:
        """A path that matches the route."""
        segments = []
        for part in _pattern(self.path).parts:
            matching = (value for value in ("1", "a") if re.fullmatch(part.pattern, value))
            segments.append(next(matching, "a") if part.literal is None else part.literal)
        return "/" + "/".join(segments)


@dataclass(frozen=True)
class GuardedRoute:
    """Routes with the ``jwt`` middleware, and the controller and the test that belong to them.

    ``name`` is the controller's name without ``Controller``, ``folder`` its folders in ``app/controllers``; ``path`` is
    written as in ``Route.get``. ``method`` is ``None`` for a resource, which has five routes.
    """

    name: str
    folder: tuple[str, ...]
    path: str
    scopes: tuple[str, ...]
    method: str | None = "GET"

    @classmethod
    def parse(
        cls, name: str, path: str | None, scopes: str, method: str | None = None, resource: bool = False
    ) -> "GuardedRoute":
        """Return the routes for the arguments of ``protected:make``. ``scopes`` are separated by commas.

        ``OrderLinesController``, ``order-lines``, ``order_lines`` and ``order lines`` are all ``OrderLines``, and the
        default path is ``/order-lines``. ``Admin/Orders`` is a controller in the folder ``Admin``.

        Raises:
            InvalidRoute: one of the arguments is invalid.
        """
        *folder, name = _names(name)
        path = path or "/" + "/".join(underscore(part).replace("_", "-") for part in (*folder, name))
        if not PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise InvalidRoute(
                f"invalid path {path!r}; expected segments of letters, digits and -._~, as in /orders/@id/items"
            )
        if CONSOLE.match(path):
            raise InvalidRoute(f"invalid path {path!r}; /console is reserved for the development console")
        if len(path) > LONGEST_TEXT or len(scopes) > LONGEST_TEXT:
            raise InvalidRoute(f"the path and the scopes may have {LONGEST_TEXT} characters each")
        if resource and method:
            raise InvalidRoute("--resource has a route for each method; remove --method")
        method = (method or "GET").upper()
        if method not in ACTIONS:
            raise InvalidRoute(f"invalid method {method!r}; expected one of {', '.join(ACTIONS)}")
        names = tuple(dict.fromkeys(scope.strip() for scope in scopes.split(",") if scope.strip()))
        for scope in names:
            if not SCOPE.fullmatch(scope):
                raise InvalidRoute(f"invalid scope {scope!r}; expected printable ASCII without spaces, quotes or \\")
        route = cls(name, tuple(folder), path, names, None if resource else method)
        route._check_parameters()
        return route

    def _check_parameters(self) -> None:
        try:
            pattern = _pattern(self.path)
        except RouteError as error:
            raise InvalidRoute(str(error)) from None
        names = [part.name for part in pattern.parts if part.literal is None]
        for name in names:
            if not name.isidentifier() or keyword.iskeyword(name) or name in USED:
                raise InvalidRoute(f"invalid parameter name {name!r}; choose another")
        if len(set(names)) < len(names):
            raise InvalidRoute(f"{self.path!r} has two parameters of the same name")
        if self.method is None and (pattern.optional or any(part.cast == "any" for part in pattern.parts)):
            raise InvalidRoute(f"invalid path {self.path!r}; the path of a resource has no ?name and no @name:any")

    @cached_property
    def actions(self) -> list[Action]:
        """The routes, in their order."""
        if self.method is not None:
            return [Action(self.method, self.path, ACTIONS[self.method], self.scopes)]
        item = f"{self.path}/@{self.item}:int"
        return [
            Action("GET", self.path, "index", self.reading),
            Action("GET", item, "show", self.reading),
            Action("POST", self.path, "store", self.writing),
            Action("PUT", item, "update", self.writing),
            Action("DELETE", item, "destroy", self.writing),
        ]

    @property
    def writing(self) -> tuple[str, ...]:
        """Scopes of a resource's POST, PUT and DELETE: the word ``read`` in each is ``write`` there."""
        return tuple(dict.fromkeys(_writing(scope) for scope in self.scopes))

    @property
    def reading(self) -> tuple[str, ...]:
        """Scopes of a resource's GET: all but those that belong to another one for writing."""
        others = {_writing(scope) for scope in self.scopes if _writing(scope) != scope}
        return tuple(scope for scope in self.scopes if scope not in others)

    @property
    def item(self) -> str:
        """The parameter of a resource's rows."""
        taken = {part.name for part in _pattern(self.path).parts}
        names = ("id", f"{underscore(singularize(self.name))}_id", "row_id", "number_of_row")
        return next(name for name in names if name not in taken)

    @property
    def controller(self) -> str:
        return f"{self.name}Controller"

    @property
    def imported(self) -> str:
        """The controller's name in the routes file."""
        return "".join(map(camelize, self.folder)) + self.controller

    @property
    def controller_file(self) -> str:
        return "/".join(("app/controllers", *self.folder, f"{self.controller}.py"))

    @property
    def test_file(self) -> str:
        return f"tests/test_{self._subject}.py"

    @property
    def _subject(self) -> str:
        return "_".join(map(underscore, (*self.folder, self.name)))

    @property
    def import_line(self) -> str:
        module = ".".join(("app.controllers", *self.folder, self.controller))
        renamed = f" as {self.imported}" if self.folder else ""
        return _fitted(f"from {module} import {self.controller}{renamed}\n").rstrip()

    @property
    def route_lines(self) -> list[str]:
        """The routes, as lines of the list ``ROUTES``."""
        lines = []
        for each in self.actions:
            guard = ":".join(["jwt", ",".join(each.scopes)]) if each.scopes else "jwt"
            route = f'Route.{each.method.lower()}("{each.path}", {self.imported}.{each.name}).middleware("{guard}")'
            lines += _fitted(f"ROUTES = [\n    {route},\n]\n").splitlines()[1:-1]
        return lines

    def controller_text(self) -> str:
        parents = [part for part in _pattern(self.path).parts if part.literal is None]
        typed = "".join(f", {part.name}: {'int' if part.cast in ('int', 'integer') else 'str'}" for part in parents)
        names = [part.name for part in parents]
        model = f"{singularize(self.name)}Input"
        values = {"controller": self.controller, "name": self.name, "model": model, "parent_typed": typed}
        if self.method is None:
            values |= {
                "typed": f"{typed}, {self.item}: int",
                "item": self.item,
                "parent_key": _tuple(names),
                "item_key": _tuple([*names, self.item]),
                "new_key": _tuple([*names, "number"]),
                "arguments": ", ".join([*names, self.item]),
            }
            return _fitted(_render("ProtectedResource", values))
        values |= {
            "typed": typed,
            "pairs": "".join(f'"{name}": {name}, ' for name in names),
            "action": self.actions[0].name,
            "decorator": "    @responds(201)\n" if self.method == "POST" else "",
            "import": "\nfrom zuplo_origin.openapi import responds\n" if self.method == "POST" else "",
        }
        return _fitted(_render(f"Protected{self._kind}", values))

    def test_text(self) -> str:
        first = self.actions[0]
        scope = f'"{" ".join(first.scopes)}"' if first.scopes else ""
        values = {
            "name": self.name,
            "subject": underscore(self.name),
            "example": first.example,
            "method": first.method.lower(),
            "code": "201" if self.method == "POST" else "200",
            "constants": f"\nSCOPE = {scope}" if scope else "",
            "scope": "SCOPE" if scope else "",
            "scope_first": "SCOPE, " if scope else "",
        }
        if self.method is not None:
            stubs = [f"Protected{self._kind}Test", *(["ProtectedScopeTest"] if scope else [])]
            return _fitted("".join(_render(stub, values) for stub in stubs))
        paths = ["PATH" if each.path == self.path else 'f"{PATH}/1"' for each in self.actions]
        requests = [f'("{each.method}", {path})' for each, path in zip(self.actions, paths, strict=True)]
        values["read"] = "READ" if scope else ""
        values["write"] = "WRITE" if scope else ""
        scopes = f'\nREAD = {scope}\nWRITE = "{" ".join(self.writing)}"' if scope else ""
        values["constants"] = f"{scopes}\nREQUESTS = [{', '.join(requests)}]"
        stubs = ["ProtectedResourceTest"]
        if scope:
            stubs += ["ProtectedResourceScopeTest"]
            stubs += ["ProtectedResourceReadTest"] if not set(self.writing) <= set(self.reading) else []
        return _fitted("".join(_render(stub, values) for stub in stubs))

    @property
    def _kind(self) -> str:
        return {"GET": "Controller", "DELETE": "Destroy"}.get(self.method or "", "Action")


def _names(argument: str) -> list[str]:
    """Return the folders and the class's name for the name that a command got, as in ``admin/order-lines``."""
    *folder, name = argument.strip().removesuffix("Controller").split("/")
    name = camelize(re.sub("[-_ ]+", "_", name.strip("-_ ")))
    parts = [*(re.sub("[- ]+", "_", part) for part in folder), name]
    if not all(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", part) and not keyword.iskeyword(part) for part in parts):
        raise InvalidRoute(f"invalid name {argument!r}; expected one such as Orders, order-lines or Admin/Orders")
    if len("".join(parts)) > LONGEST_NAME:
        raise InvalidRoute(f"the name {argument[:LONGEST_NAME]!r}… is longer than {LONGEST_NAME} characters")
    return parts


def _writing(scope: str) -> str:
    """Return ``write:orders`` for ``read:orders``, and ``Orders.Write`` for ``Orders.Read``."""
    return re.sub(
        r"(?<![A-Za-z])(read|Read|READ)(?![A-Za-z])",
        lambda found: {"read": "write", "Read": "Write", "READ": "WRITE"}[found[0]],
        scope,
    )


def _tuple(names: list[str]) -> str:
    return f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"


def _render(stub: str, values: dict[str, str]) -> str:
    return Template((STUBS / f"{stub}.stub").read_text(encoding="utf-8")).substitute(values)


def _fitted(text: str) -> str:
    """Return ``text``, formatted by ruff if one of its lines is too long, and ruff is installed."""
    if all(len(line) <= LINE for line in text.splitlines()):
        return text
    command = [sys.executable, "-m", "ruff", "format", "--line-length", str(LINE), "--isolated", "-"]
    ended = subprocess.run(command, input=text, capture_output=True, encoding="utf-8")  # noqa: S603
    return ended.stdout if ended.returncode == 0 else text


def add_routes(text: str, import_line: str, route_lines: list[str], name: str = "") -> str:
    """Return ``text``, a routes file, with an import and routes added. ``name`` is what the import binds.

    Raises:
        UnsupportedRoutesFile: the file has no list ``ROUTES = [`` that ends on a line of its own, it imports no
            controller, or it uses ``name`` already.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if re.fullmatch(r"ROUTES = \[\s*", line)), None)
    if start is None:
        raise UnsupportedRoutesFile("it has no line `ROUTES = [`")
    imports = [each for each in _controller_imports(text) if each[2] <= start]
    if not imports:
        raise UnsupportedRoutesFile("it has no line `from app.controllers.… import …` above ROUTES")
    end = next((number for number in range(start, len(lines)) if lines[number].rstrip() == "]"), None)
    if end is None:
        raise UnsupportedRoutesFile("ROUTES does not end with a line `]`")
    if name and re.search(rf"\b{name}\b", text):
        raise UnsupportedRoutesFile(f"it uses the name {name} already")
    lines[end:end] = route_lines
    key = _order(import_line.split()[1])
    smaller = [last for module, _, last in imports if _order(module) < key]
    at = smaller[-1] if smaller else imports[0][1] - 1
    lines[at:at] = import_line.splitlines()
    added = newline.join(lines) + newline
    try:
        ast.parse(added)
    except SyntaxError:
        raise UnsupportedRoutesFile("it would not compile with one more route: end the last one with a comma") from None
    return added


def _controller_imports(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the module, the first and the last line of each import of a controller."""
    with suppress(SyntaxError):  # the caller reports it
        for node in ast.parse(text).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app.controllers."):
                yield node.module or "", node.lineno, node.end_lineno or node.lineno


def _order(module: str) -> list[tuple[int, str]]:
    """Return the key by which ruff sorts modules: case-insensitive, and by the value of numbers."""
    parts = re.findall(r"[0-9]+|[^0-9]", module.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _pattern(path: str) -> RoutePattern:
    return RoutePattern(0, SimpleNamespace(url=path, compilers=Route.compilers))
