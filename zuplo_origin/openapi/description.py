"""The OpenAPI 3.1 description of the routes."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal, get_args, get_origin, get_type_hints

from masonite.response import Response

from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.http.actions import (
    DeclaredResponse,
    accepted_types,
    example_of_body,
    reads_no_body,
    request_headers,
    responses_of,
)
from zuplo_origin.http.errors import phrase
from zuplo_origin.http.routing import RoutePattern, Router
from zuplo_origin.jwt.reasons import Reason

from .schemas import INPUT, MISSING, OUTPUT, Schemas, referred

GUARD, CLAIMS, THROTTLE, BODY = "jwt", "claims", "throttle", "body"
"""The keys of the guard, the requirement of claims, rate limits and limits of bodies, as in the Kernel."""
METHODS = ("get", "post", "put", "patch", "delete")
INTERNAL = ("Console", "Metrics")
"""Groups of routes for operators, which the description leaves out."""
WITH_BODY = ("post", "put", "patch")
JSON, UNKNOWN = "application/json", "*/*"
FORM = "application/x-www-form-urlencoded"
SCHEME = "gateway"
"""The name of the security scheme."""
ERROR, FAULTS = "Error", "ValidationError"
"""The names of the shared schemas of errors."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    ``scopes`` is ``None`` if the route has no guard, ``model`` if the action takes none. ``claims`` are the
    requirements of the middleware ``claims``; ``None`` without it. ``caller`` are the models of claims that the action
    takes. ``reads_body`` is false for an action that declares ``@accepts()``.
    """

    path: str
    method: str
    name: str
    group: str
    summary: str
    description: str
    parameters: tuple[dict[str, Any], ...]
    scopes: tuple[str, ...] | None
    claims: tuple[str, ...] | None = None
    caller: tuple[Any, ...] = ()
    is_public: bool = False
    is_deprecated: bool = False
    model: Any = None
    accepted: tuple[str, ...] = ()
    reads_body: bool = True
    responses: tuple[DeclaredResponse, ...] = (DeclaredResponse(200, Any),)
    errors: tuple[int, ...] = ()
    example: Any = None
    about: str = ""
    """The docstring of the controller."""

    @property
    def is_guarded(self) -> bool:
        """True if the route requires a token: ``claims`` does so without ``jwt`` too."""
        return self.scopes is not None or self.claims is not None

    @property
    def tag(self) -> str:
        """The name of the group in words: ``Admin orders`` for ``AdminOrdersController``."""
        first, *words = re.findall("[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", self.group) or [self.group]
        return " ".join([first, *(word if word.isupper() else word.lower() for word in words)])


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
    return _arguments(route, GUARD)


def _arguments(route: Any, wanted: str) -> tuple[str, ...] | None:
    """Return the arguments of the middleware ``wanted`` of ``route``; ``None`` if the route does not have it."""
    found: tuple[str, ...] | None = None
    for specification in route.get_middlewares():
        key, _, arguments = specification.partition(":")
        if key == wanted:
            found = (*(found or ()), *(each for each in arguments.split(",") if each))
    return found


def operation_id(method: str, path: str) -> str:
    """Return the id of an operation, made from its method and path alone: ``get_orders__id`` for ``/orders/{id}``.

    Two operations never have the same id: a part that is not spelled in lower case with hyphens ends in a hash.
    """
    return "_".join([method, *(_id_of(part) for part in path.split("/")[1:] if path != "/")])


def _id_of(part: str) -> str:
    if part[:1] == "{" and part.isascii() and part[1:-1].isidentifier():
        return f"_{part[1:-1]}"
    if re.fullmatch("[a-z0-9]+(-[a-z][a-z0-9]*)*", part):
        first, *others = part.split("-")
        return first + "".join(map(str.capitalize, others))
    return f"{re.sub('[^A-Za-z0-9]', '', part)}_{sha256(part.encode()).hexdigest()[:8]}"


def _operation(route: Any, path: str, method: str, parameters: tuple[dict[str, Any], ...]) -> Operation:
    controller = route.controller_instance or route.controller_class
    kind = controller if inspect.isclass(controller) else type(controller)
    group = kind.__name__
    action = getattr(controller, route.controller_method)
    docstring = (inspect.getdoc(action) or "").replace("``", "`")
    summary, _, description = docstring.partition("\n")
    name = operation_id(method, path)
    headers = request_headers(action)
    middleware = {each.partition(":")[0] for each in route.get_middlewares()}
    errors = [status for _, statuses in headers for status in statuses]
    errors += [status for key, status in ((THROTTLE, 429), (BODY, 413)) if key in middleware]
    return Operation(
        path,
        method,
        name,
        group.removesuffix("Controller"),
        summary.strip().removesuffix(".") or name,
        description.strip(),
        parameters + tuple(dict(parameter) for parameter, _ in headers),
        scopes_of_route(route),
        _arguments(route, CLAIMS),
        tuple(route.request_models),
        "public" in middleware,
        getattr(action, "__deprecated__", None) is not None,
        route.model,
        accepted_types(action),
        not reads_no_body(action),
        _responses(action),
        tuple(errors),
        example_of_body(action),
        inspect.cleandoc(kind.__dict__.get("__doc__") or "").replace("``", "`"),
    )


def _responses(action: Any) -> tuple[DeclaredResponse, ...]:
    """Return the declared responses of ``action``, with what its return annotation says of the success."""
    declared = responses_of(action)
    returned = _returned(action)
    for index, each in enumerate(declared):
        if each.status < 400:
            if each.model is None and each.content_type is None and _may_have_content(each.status):
                filled = replace(each, model=returned.model, content_type=returned.content_type)
                return (*declared[:index], filled, *declared[index + 1 :])
            return declared
    return (returned, *declared)


def _may_have_content(status: int) -> bool:
    return status < 300 and status not in (204, 205)


def _returned(action: Any) -> DeclaredResponse:
    """Return what the return annotation of ``action`` says; without one that says it, any content type."""
    unknown = DeclaredResponse(200, None, None, UNKNOWN)
    if inspect.isgeneratorfunction(inspect.unwrap(action)):
        return DeclaredResponse(200, None, None, "text/plain")
    try:
        returned = get_type_hints(action, include_extras=True).get("return", Any)
    except Exception:  # an annotation that cannot be evaluated, such as a name for type checkers only
        return unknown
    returned, status = _value_and_status(returned)
    origin = get_origin(returned) or returned
    if returned is type(None):
        return DeclaredResponse(204 if status == 200 else status)
    if returned is str:
        return DeclaredResponse(status, None, None, "text/html")
    if returned is bytes:
        return DeclaredResponse(status, None, None, "application/octet-stream")
    if inspect.isclass(origin) and issubclass(origin, Iterator):
        return DeclaredResponse(status, None, None, "text/plain")
    if returned in (Any, object) or (inspect.isclass(origin) and issubclass(origin, Response)):
        return DeclaredResponse(status, None, None, UNKNOWN)
    return DeclaredResponse(status, returned)


def _value_and_status(returned: Any) -> tuple[Any, int]:
    """Return the type of the value that an action sends, and its status: 200 unless a ``Literal`` names another one."""
    parts = get_args(returned) if get_origin(returned) is tuple else ()
    if len(parts) != 2:
        return returned, 200
    value, status = parts
    if status is int:
        return value, 200
    statuses = get_args(status) if get_origin(status) is Literal else ()
    if not statuses or not all(isinstance(each, int) for each in statuses):
        return returned, 200
    return value, min(statuses)


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
        return {"type": "integer", "format": "int64", "minimum": 0}
    return {"type": "string", "pattern": f"^{part.pattern}$"} if part.cast else {"type": "string"}


class Description:
    """Bound to the container as ``openapi``: the description of the current routes.

    The gateway puts its token in ``header``, after ``scheme``. ``public_url`` is what clients call this API.
    """

    def __init__(
        self, router: Router, title: str, version: str, header: str, scheme: str, public_url: str | None = None
    ) -> None:
        self._router, self._title, self._version = router, title, version
        self._header, self._scheme, self._public_url = header, scheme, public_url
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
        found = self.operations()
        paths, components = described(found)
        document: Document = {
            "openapi": "3.1.0",
            "info": {"title": self._title, "version": self._version},
            "tags": tags(found),
            "paths": paths,
            "components": {"securitySchemes": {SCHEME: self._security()}} | components,
        }
        if self._public_url:
            document["servers"] = [{"url": self._public_url}]
        return document

    def _security(self) -> Document:
        description = "The token that the gateway signs for this origin."
        if self._header.lower() == "authorization" and self._scheme.lower() == "bearer":
            return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description}
        value = f"{self._scheme} <token>" if self._scheme else "<token>"
        return {"type": "apiKey", "in": "header", "name": self._header, "description": f"{description} Format: {value}"}


def tags(found: list[Operation]) -> list[Document]:
    """Return a Tag Object for each controller (OpenAPI 3.1, section 4.8.22), in the order of their first routes."""
    about = {operation.tag: operation.about for operation in reversed(found)}
    names = dict.fromkeys(operation.tag for operation in found)
    return [{"name": name} | ({"description": about[name]} if about[name] else {}) for name in names]


def described(found: list[Operation]) -> tuple[Document, Document]:
    """Return the Paths Object of the operations (OpenAPI 3.1, section 4.8.8), and the components that it refers to."""
    wanted = [(each.model, INPUT) for each in found if each.model is not None]
    wanted += [(each.model, OUTPUT) for one in found for each in one.responses if each.model is not None]
    schemas = Schemas(wanted)
    paths: Document = {}
    for operation in found:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, schemas)
    statuses = {each for entry in paths.values() for one in entry.values() for each in one["responses"]}
    responses = {each: _error_response(int(each)) for each in sorted(statuses) if int(each) >= 400}
    shared = schemas.components | {ERROR: _ERROR, FAULTS: _FAULTS}
    used = referred([paths, responses])
    while (more := used | referred([shared[name] for name in used])) != used:
        used = more
    return paths, {"responses": responses, "schemas": {name: shared[name] for name in sorted(used)}}


def _described(operation: Operation, schemas: Schemas) -> Document:
    """Return the Operation Object of ``operation`` (OpenAPI 3.1, section 4.8.10)."""
    made: Document = {"operationId": operation.name, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        made["description"] = operation.description
    if operation.is_deprecated:
        made["deprecated"] = True
    statuses = {400, 500, *operation.errors}
    parameters = list(operation.parameters)
    if any(each["in"] == "path" for each in parameters):
        statuses.add(404)  # of any other path, only the action knows
    if any(each.status == 428 for each in operation.responses):
        statuses.add(412)
        if not any(each["name"].lower() == "if-match" for each in parameters):
            parameters.append(_IF_MATCH)
    if operation.method in WITH_BODY and operation.reads_body:
        made["requestBody"] = _body(operation, schemas)
        statuses |= {408, 413, 415, 503}
    elif operation.method not in WITH_BODY and operation.model is not None:
        parameters += _query(schemas.of(operation.model, INPUT) or {}, schemas)
    if parameters:
        made["parameters"] = parameters
    if operation.model is not None:
        statuses.add(422)
    if any(each.content_type not in (None, UNKNOWN, "text/html") for each in operation.responses):
        statuses.add(503)  # as a stream or a file, beyond WEB_STREAMS
    if operation.is_guarded or operation.caller:
        made["security"] = [{SCHEME: list(operation.scopes or ())}]
        can_lack = operation.scopes or operation.claims is not None or operation.caller
        statuses |= {401, 503} | ({403} if can_lack else set())
    responses: Document = {str(each): {"$ref": f"#/components/responses/{each}"} for each in statuses}
    for response in operation.responses:
        responses[str(response.status)] = _declared(response, schemas)
    made["responses"] = {status: responses[status] for status in sorted(responses)}
    return made


def _body(operation: Operation, schemas: Schemas) -> Document:
    schema: Any = {} if operation.model is None else schemas.of(operation.model, INPUT) or {}
    if operation.accepted:
        example = {} if operation.example is None else {"example": operation.example}
        content = {
            each: (_json(schema, schemas) if schema and _is_json(each) else {"schema": schema or _raw(each)}) | example
            for each in operation.accepted
        }
        return {"required": True, "content": content}
    if operation.model is None:
        return {"content": {UNKNOWN: {"schema": {}}}}
    content = {JSON: _json(schema, schemas)}
    if all(_is_flat(each) for each in schemas.resolved(schema).get("properties", {}).values()):
        content[FORM] = {"schema": schema}
    return {"required": True, "content": content}


def _raw(content_type: str) -> Document:
    """Return the schema of a body that the action reads itself."""
    if _is_json(content_type):
        return {}
    if content_type in ("multipart/form-data", FORM):
        return {"type": "object"}
    return {"type": "string"} if content_type.startswith("text/") else {}


def _is_json(content_type: str) -> bool:
    return content_type == JSON or content_type.endswith("+json")


def _is_flat(schema: Document) -> bool:
    """Return whether a form has a field for the values of ``schema``."""
    alternatives = schema.get("anyOf", [schema])
    return not any(each.get("type") in ("object", "array") or "$ref" in each for each in alternatives)


def _query(schema: Document, schemas: Schemas) -> Iterator[Document]:
    """Yield a Parameter Object for each field of a model that is read from the query string."""
    model = schemas.resolved(schema)
    for name, field in model.get("properties", {}).items():
        made: Document = {"name": name, "in": "query", "required": name in model.get("required", ())}
        if "description" in field:
            made["description"] = field["description"]
        yield made | {
            "schema": _without_null({key: field[key] for key in field if key not in ("description", "title")})
        }


def _without_null(schema: Document) -> Document:
    """Return the schema of a query parameter that may be absent: a query string cannot contain ``null``."""
    made = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    alternatives = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(alternatives) == 1:
        made.update(alternatives[0])
        return made
    return made | ({"anyOf": alternatives} if alternatives else {})


def _declared(response: DeclaredResponse, schemas: Schemas) -> Document:
    """Return the Response Object of a declared response (OpenAPI 3.1, section 4.8.17)."""
    headers = {name: _header(description) for name, description in response.headers}
    if response.status >= 400 and response.model is None and response.content_type is None:
        if response.description is None and not headers:
            return {"$ref": f"#/components/responses/{response.status}"}
        error = _error_response(response.status)
        error |= {"description": response.description} if response.description else {}
        declared = {name.lower() for name in headers}
        headers |= {name: each for name, each in error.get("headers", {}).items() if name.lower() not in declared}
        return error | ({"headers": headers} if headers else {})
    made: Document = {
        "description": response.description or f"{_SUCCESS.get(response.status) or phrase(response.status)}."
    }
    schema = None if response.model is None else schemas.of(response.model, OUTPUT)
    if response.content_type is not None:
        made["content"] = {response.content_type: {"schema": schema or _raw(response.content_type)}}
    elif response.model is not None and response.status not in (204, 205, 304):
        made["content"] = {JSON: _json(schema or {}, schemas)}
    return made | ({"headers": headers} if headers else {})


def _json(schema: Document, schemas: Schemas) -> Document:
    """Return the Media Type Object of a JSON value (OpenAPI 3.1, section 4.8.14), with an example of models."""
    example = schemas.example(schema) if schema else MISSING
    return {"schema": schema} | ({} if example is MISSING else {"example": example})


_SUCCESS = {200: "Success"}
_IF_MATCH: Document = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The `ETag` of the version that the request is for (RFC 9110, section 13.1.1).",
    "schema": {"type": "string"},
}
_ERROR: Document = {
    "type": "object",
    "description": "An error: the phrase of its status, and often what is wrong.",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "details": {}},
}
_FAULTS: Document = {
    "type": "object",
    "description": "All faults of an input that is not valid.",
    "required": ["error", "details"],
    "properties": {
        "error": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string", "description": "The path of the field, as in `items.0.sku`."},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def _error_response(status: int) -> Document:
    """Return the Response Object of an error that the application or its actions respond with."""
    examples = _examples(status)
    content: Document = {"schema": {"$ref": f"#/components/schemas/{FAULTS if status == 422 else ERROR}"}}
    if examples:
        content["examples"] = examples
    made: Document = {"description": f"{phrase(status)}.", "content": {JSON: content}}
    if status == 401:
        made["headers"] = {"WWW-Authenticate": _header("The challenge (RFC 6750, section 3).")}
    if status in (429, 503):
        made["headers"] = {"Retry-After": _header("Seconds to wait before the next attempt.")}
    if status == 412:
        made["headers"] = {"ETag": _header("The current version.")}
    if status == 405:
        made["headers"] = {"Allow": _header("The methods of the path.")}
    return made


def _examples(status: int) -> Document:
    """Return an Example Object for each error of the guard with ``status``."""
    examples: Document = {}
    for reason, each in ERROR_RESPONSES.items():
        if each.status == status:
            value = {"error": each.error} | ({"details": each.details} if each.details else {})
            examples[reason.value if isinstance(reason, Reason) else str(reason)] = {"value": value}
    return examples


def _header(description: str) -> Document:
    return {"description": description, "schema": {"type": "string"}}
