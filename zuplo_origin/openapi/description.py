"""The OpenAPI 3.1 description of the routes."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.http.errors import phrase
from zuplo_origin.http.routing import RoutePattern, Router
from zuplo_origin.jwt.reasons import Reason

DESCRIBED = (400, 401, 403, 404, 405, 408, 413, 415, 500, 503)
"""Statuses of errors that the description names for every operation."""
GUARD = "jwt"
"""The key in the Kernel under which the guard is registered."""
METHODS = ("get", "post", "put", "patch", "delete")
INTERNAL = ("Console", "Metrics")
"""Groups of routes for operators, which the description leaves out."""
WITH_BODY = ("post", "put", "patch")


@dataclass(frozen=True)
class Operation:
    """One method of one path. ``scopes`` is ``None`` if the route has no guard."""

    path: str
    method: str
    name: str
    group: str
    summary: str
    description: str
    parameters: tuple[dict[str, Any], ...]
    scopes: tuple[str, ...] | None


def operations(routes: list[Any]) -> list[Operation]:
    """Return the operations of ``routes``, in their order; if several have the same path and method, the first."""
    found: dict[tuple[str, str], Operation] = {}
    for order, route in enumerate(routes):
        for path, parameters in _paths(RoutePattern(order, route)):
            for method in route.request_method:
                if method in METHODS:
                    found.setdefault((path, method), _operation(route, path, method, parameters))
    return [operation for operation in found.values() if operation.group not in INTERNAL]


def scopes_of_route(route: Any) -> tuple[str, ...] | None:
    """Return the scopes that ``route`` requires; ``None`` if it has no guard."""
    scopes: tuple[str, ...] | None = None
    for specification in route.get_middlewares():
        key, _, arguments = specification.partition(":")
        if key == GUARD:
            scopes = (*(scopes or ()), *(scope for scope in arguments.split(",") if scope))
    return scopes


def _operation(route: Any, path: str, method: str, parameters: tuple[dict[str, Any], ...]) -> Operation:
    controller = route.controller_instance or route.controller_class
    group = (controller if inspect.isclass(controller) else type(controller)).__name__
    docstring = (inspect.getdoc(getattr(controller, route.controller_method)) or "").replace("``", "`")
    summary, _, description = docstring.partition("\n")
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
    """Yield the path of ``pattern`` and, if its last parameter is optional, the path without it."""
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


SCHEME = "gateway"
"""The name of the security scheme."""

Document = dict[str, Any]


class Description:
    """Bound to the container as ``openapi``: the description of the current routes.

    The gateway puts its token in ``header``, after ``scheme``.
    """

    def __init__(self, router: Router, title: str, version: str, header: str, scheme: str) -> None:
        self._router, self._title, self._version = router, title, version
        self._header, self._scheme = header, scheme
        self._made: tuple[list[Any], Document] | None = None  # the routes, and their description

    def operations(self) -> list[Operation]:
        """Return the operations of the current routes."""
        return operations(self._router.routes)

    def document(self) -> Document:
        """Return the description (OpenAPI 3.1.0). It is generated once for each list of routes."""
        routes = self._router.routes
        if self._made is None or self._made[0] is not routes:
            self._made = (routes, self._document())
        return self._made[1]

    def _document(self) -> Document:
        paths: Document = {}
        for operation in self.operations():
            paths.setdefault(operation.path, {})[operation.method] = described(operation)
        return {
            "openapi": "3.1.0",
            "info": {"title": self._title, "version": self._version},
            "paths": paths,
            "components": {
                "securitySchemes": {SCHEME: self._security()},
                "responses": {str(status): _response(status) for status in sorted(_phrases())},
                "schemas": {"Response": {"description": "The response of the action, as JSON."}},
            },
        }

    def _security(self) -> Document:
        description = "The token that the gateway signs for this origin."
        if self._header.lower() == "authorization" and self._scheme.lower() == "bearer":
            return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description}
        value = f"{self._scheme} <token>" if self._scheme else "<token>"
        return {"type": "apiKey", "in": "header", "name": self._header, "description": f"{description} Format: {value}"}


def described(operation: Operation) -> Document:
    """Return the Operation Object of ``operation`` (OpenAPI 3.1, section 4.8.10)."""
    statuses = {400, 404, 500}
    success = {"schema": {"$ref": "#/components/schemas/Response"}}
    made: Document = {"operationId": operation.name, "tags": [operation.group], "summary": operation.summary}
    if operation.description:
        made["description"] = operation.description
    if operation.parameters:
        made["parameters"] = list(operation.parameters)
    if operation.method in WITH_BODY:
        made["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}
        statuses |= {413, 415, 503}
    if operation.scopes is not None:
        made["security"] = [{SCHEME: list(operation.scopes)}]
        statuses |= {401, 503} | ({403} if operation.scopes else set())
    made["responses"] = {"200": {"description": "Success.", "content": {"application/json": success}}} | {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)
    }
    return made


def _phrases() -> dict[int, dict[str, set[str]]]:
    """Return the errors of each status, and the details of each error."""
    phrases: dict[int, dict[str, set[str]]] = {}
    for status in DESCRIBED:
        if status not in (401, 403):  # only the guard responds with these
            phrases.setdefault(status, {})[phrase(status)] = set()
    for rejection in ERROR_RESPONSES.values():
        details = phrases.setdefault(rejection.status, {}).setdefault(rejection.error, set())
        details.update([rejection.details] if rejection.details else [])
    return phrases


def _response(status: int) -> Document:
    phrases = _phrases()[status]
    properties: Document = {"error": {"type": "string", "enum": sorted(phrases)}}
    details = sorted({one for each in phrases.values() for one in each})
    if details:
        properties["details"] = {"type": "string", "enum": details}
    schema = {"type": "object", "required": ["error"], "properties": properties, "additionalProperties": False}
    made: Document = {
        "description": "; ".join(f"{phrase}." for phrase in phrases),
        "content": {"application/json": {"schema": schema}},
    }
    if status in (401, 403):
        made["headers"] = {"WWW-Authenticate": _header("The challenge (RFC 6750, section 3).")}
    if status == ERROR_RESPONSES[Reason.KEYS_UNAVAILABLE].status:
        made["headers"] = {"Retry-After": _header("Seconds to wait before the next attempt.")}
    if status == 405:
        made["headers"] = {"Allow": _header("The methods of the path.")}
    return made


def _header(description: str) -> Document:
    return {"description": description, "schema": {"type": "string"}}
