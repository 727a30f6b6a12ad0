"""Bodies and headers that decorators declare are described, and the application reads bodies as described."""

import json
from typing import Any

import pytest
from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel, Field

from package_tests.support.applications import application as application_of
from package_tests.support.wsgi_client import request
from zuplo_origin.http import HttpException
from zuplo_origin.http.routing import RouteError
from zuplo_origin.openapi import accepts, reads_header, responds
from zuplo_origin.openapi.description import Description
from zuplo_origin.services import idempotent

FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


class Change(BaseModel):
    name: str = Field(examples=["ACME"])
    count: int = 1


class BodyController(Controller):
    @accepts()
    def pay(self, id: int, response: Response) -> dict[str, Any]:
        return {"id": id}

    def undeclared(self, id: int) -> dict[str, Any]:
        return {"id": id}

    @accepts()
    def with_request(self, request: Request) -> dict[str, Any]:
        return {"agent": request.header("X-Agent")}

    def plain(self, request: Request) -> dict[str, Any]:
        return {"bytes": len(request.body())}

    @accepts("*/*")
    def hidden(self) -> dict[str, Any]:
        return {}

    @idempotent
    @accepts()
    def once(self, request: Request) -> dict[str, Any]:
        return {}

    def change(self, change: Change) -> Change:
        return change

    @accepts("application/json", "application/merge-patch+json")
    def json_only(self, change: Change) -> Change:
        return change

    @accepts("application/json", example={"name": "Other"})
    def with_example(self, change: Change) -> Change:
        return change


class HeadersController(Controller):
    @responds(201, Change, headers={"Location": "The URL of the change", "ETag": "Its version"})
    @responds(409, headers={"retry-after": "Seconds to wait"})
    @responds(429, headers={"retry-after": "Seconds", "X-Limit": "Requests"})
    def store(self, response: Response):
        response.header("Location", "/changes/1")
        response.header("ETag", '"1"')
        return {"name": "ACME", "count": 1}

    @responds(204, headers={"ETag": "The new version"})
    @responds(428)
    @reads_header("if-match", "The version that the caller has read", required=True)
    @reads_header("X-Source", "Where the change comes from")
    def update(self, request: Request, id: int):
        if request.header("If-Match") is None:
            raise HttpException(428)

    @responds(200, headers={"ETag": "The version"})
    def show(self) -> Change:
        return Change(name="ACME")


ROUTES = {
    "pay": Route.post("/orders/@id:int/pay", BodyController.pay),
    "undeclared": Route.post("/undeclared/@id:int", BodyController.undeclared),
    "with_request": Route.patch("/with-request", BodyController.with_request),
    "plain": Route.post("/plain", BodyController.plain),
    "hidden": Route.post("/hidden", BodyController.hidden),
    "once": Route.post("/once", BodyController.once),
    "change": Route.post("/change", BodyController.change),
    "json_only": Route.post("/json", BodyController.json_only),
    "with_example": Route.post("/example", BodyController.with_example),
    "created": Route.post("/changes", HeadersController.store),
    "updated": Route.put("/changes/@id:int", HeadersController.update),
    "shown": Route.get("/changes", HeadersController.show),
}


@pytest.fixture(scope="module")
def application():
    return application_of(*ROUTES.values())


@pytest.fixture(scope="module")
def document(application):
    made = Description(application.make("router"), "Changes", "1", "Authorization", "Bearer").document()
    validate(json.loads(json.dumps(made)), cls=OpenAPIV31SpecValidator)
    return made


def operation(document, name):
    route = ROUTES[name]
    return document["paths"][route.url.replace("@id:int", "{id}")][route.request_method[0]]


def send(application, path, content_type, body, method="POST"):
    return request(application, method, path, {"Content-Type": content_type} if content_type else None, body)


@pytest.mark.parametrize("name", ["pay", "with_request", "once"])
def test_action_that_reads_no_body_has_none_in_its_description(document, name):
    described = operation(document, name)

    assert "requestBody" not in described
    assert not {"408", "413", "415"} & set(described["responses"])


@pytest.mark.parametrize("name", ["plain", "undeclared", "hidden"])
def test_body_of_an_action_that_may_read_one_is_of_any_type(document, name):
    described = operation(document, name)

    assert list(described["requestBody"]["content"]) == ["*/*"]
    assert {"408", "413", "415"} <= set(described["responses"])


@pytest.mark.parametrize("content_type", ["application/json", "text/csv", "nonsense", None])
@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/orders/7/pay", 200), ("PATCH", "/with-request", 200)]
)
def test_body_that_an_action_does_not_read_is_ignored(application, method, path, status, content_type):
    assert send(application, path, content_type, b"{", method).status == status


class Contradiction(Controller):
    @accepts()
    def store(self, change: Change):
        return {}


def test_no_body_and_a_model_cannot_both_be_declared():
    assert application_of(Route.get("/changes", Contradiction.store))  # read from the query string
    with pytest.raises(RouteError, match=r"/changes: @accepts\(\) declares no body, but Change is read from it"):
        application_of(Route.post("/changes", Contradiction.store))
    with pytest.raises(ValueError, match="content type of the example"):
        accepts(example="a,b")


def test_model_is_read_from_json_and_forms(application, document):
    assert set(operation(document, "change")["requestBody"]["content"]) == {"application/json", FORM}
    part = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\na\r\n--b--\r\n'
    for content_type, body in [
        ("application/json", b'{"name": "a"}'),
        (FORM, b"name=a"),
        (f"{MULTIPART}; boundary=b", part),
    ]:
        assert send(application, "/change", content_type, body).json == {"name": "a", "count": 1}


def test_model_of_an_action_that_accepts_json_is_not_read_from_forms(application, document):
    content = operation(document, "json_only")["requestBody"]["content"]
    assert list(content) == ["application/json", "application/merge-patch+json"]
    assert all(each["schema"] == {"$ref": "#/components/schemas/Change"} for each in content.values())
    assert content["application/json"]["example"] == {"name": "ACME", "count": 1}
    example = operation(document, "with_example")["requestBody"]["content"]["application/json"]["example"]
    assert example == {"name": "Other"}

    for content_type in content:
        assert send(application, "/json", content_type, b'{"name": "a"}').json == {"name": "a", "count": 1}
        assert send(application, "/json", content_type, b'{"count": 1}').status == 422
    assert send(application, "/json", "application/json; charset=utf-8", b'{"name": "a"}').status == 200
    for content_type in (FORM, f"{MULTIPART}; boundary=b", "text/plain", "application/problem+json", "nonsense", None):
        assert send(application, "/json", content_type, b"name=a").status == 415, content_type


def test_headers_of_a_response_are_described_and_sent(application, document):
    responses = operation(document, "created")["responses"]

    assert responses["201"]["headers"]["Location"] == {
        "description": "The URL of the change",
        "schema": {"type": "string"},
    }
    assert list(responses["201"]["headers"]) == ["Location", "ETag"] and "content" in responses["201"]
    assert list(responses["409"]["headers"]) == ["retry-after"]
    assert responses["409"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert list(responses["429"]["headers"]) == ["retry-after", "X-Limit"]  # not its Retry-After too
    assert list(operation(document, "updated")["responses"]["204"]["headers"]) == ["ETag"]
    shown = operation(document, "shown")["responses"]["200"]
    assert list(shown["headers"]) == ["ETag"] and list(shown["content"]) == ["application/json"]
    assert "headers" not in operation(document, "change")["responses"]["200"]
    assert request(application, "POST", "/changes").headers["location"] == "/changes/1"


def test_header_that_an_action_reads_is_a_parameter(document):
    parameters = operation(document, "updated")["parameters"]

    assert [each["name"] for each in parameters] == ["id", "if-match", "X-Source"]
    assert [each["required"] for each in parameters] == [True, True, False]
    assert parameters[1]["description"] == "The version that the caller has read"  # in place of that of 428
    assert parameters[2]["schema"] == {"type": "string"} and parameters[2]["in"] == "header"
    assert {"412", "428"} <= set(operation(document, "updated")["responses"])


@pytest.mark.parametrize("name", ["", "X Source", "X:Source", "Xé", "X\n", None, 1])
def test_header_without_a_valid_name_cannot_be_declared(name):
    with pytest.raises(ValueError, match="is not the name of a header"):
        reads_header(name, "…")
    with pytest.raises(ValueError, match="is not the name of a header"):
        responds(200, headers={name: "…"})


@pytest.mark.parametrize("name", ["Accept", "content-type", "AUTHORIZATION"])
def test_header_that_is_described_elsewhere_cannot_be_declared(name):
    with pytest.raises(ValueError, match="describes this header"):
        reads_header(name, "…")


def test_header_is_declared_once():
    with pytest.raises(ValueError, match="X-SOURCE is declared twice above"):
        reads_header("X-SOURCE", "…")(HeadersController.update)
    with pytest.raises(ValueError, match="Idempotency-Key is declared twice"):
        reads_header("Idempotency-Key", "…")(BodyController.once)
    with pytest.raises(ValueError, match="content_type="):
        responds(200, headers={"Content-Type": "…"})


def test_idempotency_key_is_described_with_its_length(document):
    (key,) = operation(document, "once")["parameters"]

    assert (key["name"], key["schema"]["minLength"], key["schema"]["maxLength"]) == ("Idempotency-Key", 1, 255)


@pytest.mark.parametrize(("name", "expected"), [("pay", True), ("updated", True), ("plain", False), ("shown", False)])
def test_404_is_described_for_paths_with_a_parameter(document, name, expected):
    assert ("404" in operation(document, name)["responses"]) is expected
    assert "500" in operation(document, name)["responses"]
