"""The whole description."""

from typing import Any

from app.exceptions.answers import ERRORS, REFUSALS
from app.foundation.Router import Router
from app.jwt.reasons import Reason

from .operations import WITH_BODY, Operation, operations

SCHEME = "gateway"
"""The name of the security scheme."""

Document = dict[str, Any]


class Description:
    """Bound to the container as ``openapi``: the description of the routes as they are now.

    ``title`` is the API's, ``header`` and ``scheme`` say where the gateway puts its token.
    """

    def __init__(self, router: Router, title: str, version: str, header: str, scheme: str) -> None:
        self._router, self._title, self._version = router, title, version
        self._header, self._scheme = header, scheme
        self._made: tuple[list[Any], Document] | None = None  # with the list of routes, which the router never changes

    def operations(self) -> list[Operation]:
        """Return the operations that the routes have."""
        return operations(self._router.routes)

    def document(self) -> Document:
        """Return the description (OpenAPI 3.1.0), made anew where the routes have changed."""
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
                "schemas": {"Answer": {"description": "What the action says, as JSON."}},
            },
        }

    def _security(self) -> Document:
        told = "The token that the gateway signs for this origin."
        if self._header.lower() == "authorization" and self._scheme.lower() == "bearer":
            return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": told}
        spelled = f"{self._scheme} <token>" if self._scheme else "<token>"
        return {"type": "apiKey", "in": "header", "name": self._header, "description": f"{told} As: {spelled}"}


def described(operation: Operation) -> Document:
    """Return the Operation Object of ``operation`` (OpenAPI 3.1, section 4.8.10)."""
    statuses = {400, 404, 500}
    answer = {"schema": {"$ref": "#/components/schemas/Answer"}}
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
    made["responses"] = {"200": {"description": "Done.", "content": {"application/json": answer}}} | {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)
    }
    return made


def _phrases() -> dict[int, dict[str, set[str]]]:
    """Return, by status, every error that is answered, with its details."""
    told: dict[int, dict[str, set[str]]] = {}
    for status, phrase in ERRORS.items():
        if status not in (401, 403):  # those are the guard's alone
            told.setdefault(status, {})[phrase] = set()
    for refusal in REFUSALS.values():
        details = told.setdefault(refusal.status, {}).setdefault(refusal.error, set())
        details.update([refusal.details] if refusal.details else [])
    return told


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
    if status == REFUSALS[Reason.KEYS_UNAVAILABLE].status:
        made["headers"] = {"Retry-After": _header("Seconds until it is worth another try.")}
    if status == 405:
        made["headers"] = {"Allow": _header("The methods that the path has.")}
    return made


def _header(told: str) -> Document:
    return {"description": told, "schema": {"type": "string"}}
