"""From a route to what OpenAPI says of it."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.foundation.RoutePattern import RoutePattern

GUARD = "jwt"
"""The Kernel's key of the guard."""
METHODS = ("get", "post", "put", "patch", "delete")
INTERNAL = ("Console", "Metrics")
"""Groups of routes that are for whoever runs the application, and not for its callers."""
WITH_BODY = ("post", "put", "patch")


@dataclass(frozen=True)
class Operation:
    """One method of one path. ``scopes`` is ``None`` where the route has no guard."""

    path: str
    method: str
    name: str
    group: str
    summary: str
    description: str
    parameters: tuple[dict[str, Any], ...]
    scopes: tuple[str, ...] | None


def operations(routes: list[Any]) -> list[Operation]:
    """Return the operations of ``routes``, in their order; of several for one path and method, the first."""
    found: dict[tuple[str, str], Operation] = {}
    for order, route in enumerate(routes):
        for path, parameters in _paths(RoutePattern(order, route)):
            for method in route.request_method:
                if method in METHODS:
                    found.setdefault((path, method), _operation(route, path, method, parameters))
    return [operation for operation in found.values() if operation.group not in INTERNAL]


def scopes_of_route(route: Any) -> tuple[str, ...] | None:
    """Return the scopes that ``route`` asks for, ``None`` where it has no guard."""
    asked: tuple[str, ...] | None = None
    for specification in route.get_middlewares():
        key, _, arguments = specification.partition(":")
        if key == GUARD:
            asked = (*(asked or ()), *(scope for scope in arguments.split(",") if scope))
    return asked


def _operation(route: Any, path: str, method: str, parameters: tuple[dict[str, Any], ...]) -> Operation:
    controller = route.controller_instance or route.controller_class
    group = (controller if inspect.isclass(controller) else type(controller)).__name__
    told = (inspect.getdoc(getattr(controller, route.controller_method)) or "").replace("``", "`")
    summary, _, description = told.partition("\n")
    name = f"{group}.{route.controller_method}"
    if method != "get":
        name += f".{method}"
    if path.count("{") != route.url.count("@") + route.url.count("?"):
        name += ".without"
    return Operation(
        path,
        method,
        name,
        group.removesuffix("Controller"),
        summary.strip() or name,
        description.strip(),
        parameters,
        scopes_of_route(route),
    )


def _paths(pattern: RoutePattern) -> Iterator[tuple[str, tuple[dict[str, Any], ...]]]:
    """Yield the path that ``pattern`` takes, and the one without its last parameter where that may be missing."""
    parts, parameters = [], []
    for part in pattern.parts:
        if part.literal is None:
            parts.append(f"{{{part.name}}}")
            parameters.append({"name": part.name, "in": "path", "required": True, "schema": _schema(part)})
        else:
            parts.append(part.literal)
    if pattern.optional:
        yield "/" + "/".join(parts[:-1]), tuple(parameters[:-1])
    yield "/" + "/".join(parts), tuple(parameters)


def _schema(part: Any) -> dict[str, Any]:
    if part.cast in ("int", "integer"):
        return {"type": "integer"}
    return {"type": "string", "pattern": f"^{part.pattern}$"} if part.cast else {"type": "string"}
