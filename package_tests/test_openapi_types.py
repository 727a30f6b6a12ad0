"""The description has the types that actions read and return, and the application responds as it is described."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel, Field
from typing_extensions import deprecated

from package_tests.support.applications import application as application_of
from package_tests.support.wsgi_client import request
from zuplo_origin.http import HttpException
from zuplo_origin.openapi import accepts, responds
from zuplo_origin.openapi.description import Description, operation_id


class Item(BaseModel):
    sku: str = Field(examples=["A-1"], description="The article")
    price: Decimal = Decimal(0)


class NewOrder(BaseModel):
    items: list[Item]
    note: str | None = None


class Order(BaseModel):
    id: int
    at: datetime
    items: list[Item]


class Login(BaseModel):
    name: str
    age: int | None = None


class Search(BaseModel):
    page: int = Field(1, ge=1, description="From 1")
    tag: list[str] = []
    customer: str


@dataclass
class Total:
    amount: Decimal


class OrderController(Controller):
    def index(self, search: Search) -> list[Order]:
        """List the orders."""
        return []

    @responds(201, Order, "The new order")
    @responds(409, description="An order with this number exists")
    @responds(402)
    def store(self, order: NewOrder):
        """Create an order."""
        if not order.items:
            raise HttpException(409)
        return {"id": 1, "at": "2026-01-01T00:00:00Z", "items": []}

    def login(self, login: Login):
        return {}

    def destroy(self, id) -> None:
        """Delete an order."""

    @accepts("text/csv", "application/x-ndjson")
    @responds(202)
    def load(self, request: Request) -> dict:
        return {"bytes": len(request.body())}

    @responds(200, content_type="text/csv")
    def export(self, response: Response):
        return response.stream(iter(["a,b\n"]), "text/csv")

    def total(self) -> Total:
        return Total(Decimal("1.10"))

    def text(self) -> str:
        return "text"

    def chunks(self) -> Iterator[str]:
        yield "a"

    def plain(self):
        return {}

    def untyped(self, response: Response) -> Any:
        return response.download("a.pdf", "a.pdf")

    @responds(201)
    def created(self, response: Response):
        return response.stream(iter("a"), "text/csv"), 201

    def rows(self):
        yield "a"

    @responds(201)
    def other(self, request: Request, response: Response) -> dict:
        return response.json({"accepted": True}, status=202)

    @responds(201)
    def by_json(self, response: Response) -> dict:
        return response.json({"created": True})

    @responds(201)
    def without_content(self):
        return None

    @responds(303)
    def redirected(self, response: Response):
        return response.redirect("/elsewhere")

    @responds(201)
    def fails(self):
        raise HttpException(418)

    @deprecated("use index")
    def old(self) -> dict:
        return {}

    def unknown(self) -> "NoSuchName":  # noqa: F821
        return {}

    def orm(self) -> Response:
        return {}

    def any(self) -> dict[str, Any]:
        return {}


ROUTES = {
    "index": ("get", "/orders"),
    "store": ("post", "/orders"),
    "login": ("post", "/login"),
    "destroy": ("delete", "/orders/@id"),
    "load": ("post", "/orders/load"),
    "export": ("get", "/orders/export"),
    "total": ("get", "/total"),
    "text": ("get", "/text"),
    "chunks": ("get", "/chunks"),
    "plain": ("get", "/plain"),
    "untyped": ("get", "/untyped"),
    "created": ("post", "/created"),
    "rows": ("get", "/rows"),
    "other": ("post", "/other"),
    "by_json": ("post", "/by-json"),
    "without_content": ("post", "/without-content"),
    "redirected": ("post", "/redirected"),
    "fails": ("post", "/fails"),
    "old": ("get", "/old"),
    "unknown": ("get", "/unknown"),
    "orm": ("get", "/orm"),
    "any": ("get", "/any"),
}


@pytest.fixture(scope="module")
def orders():
    return application_of(
        *[getattr(Route, method)(url, getattr(OrderController, name)) for name, (method, url) in ROUTES.items()]
    )


@pytest.fixture(scope="module")
def document(orders):
    made = Description(orders.make("router"), "Orders", "1.0", "Authorization", "Bearer", "https://api.example.com")
    return made.document()


def operation(document, name):
    method, url = ROUTES[name]
    return document["paths"][url.replace("@id", "{id}")][method]


def schema_of(document, content):
    schema = content["schema"]
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def post(application, path, body=b"{}", content_type="application/json"):
    return request(application, "POST", path, {"Content-Type": content_type} if content_type else None, body)


def test_description_of_typed_actions_is_valid(document):
    validate(document, cls=OpenAPIV31SpecValidator)
    assert json.loads(json.dumps(document)) == document
    assert document["servers"] == [{"url": "https://api.example.com"}]


def test_model_of_a_body_is_a_shared_component(document):
    body = operation(document, "store")["requestBody"]

    assert body["required"] and set(body["content"]) == {"application/json"}
    schema = schema_of(document, body["content"]["application/json"])
    assert schema["title"] == "NewOrder" and schema["required"] == ["items"]
    assert "422" in operation(document, "store")["responses"]
    assert "422" not in operation(document, "plain")["responses"]


def test_flat_model_can_be_sent_as_a_form(document):
    assert set(operation(document, "login")["requestBody"]["content"]) == {
        "application/json",
        "application/x-www-form-urlencoded",
    }


def test_model_of_a_query_is_a_parameter_for_each_field(document):
    parameters = {each["name"]: each for each in operation(document, "index")["parameters"]}

    assert {name: each["required"] for name, each in parameters.items()} == {
        "page": False,
        "tag": False,
        "customer": True,
    }
    assert parameters["page"]["schema"] == {"type": "integer", "minimum": 1, "default": 1}
    assert parameters["page"]["description"] == "From 1"
    assert parameters["tag"]["schema"]["items"] == {"type": "string"}
    assert "Search" not in document["components"]["schemas"]  # only its fields are used


def test_declared_responses_are_described(document):
    responses = operation(document, "store")["responses"]

    assert "200" not in responses
    assert responses["201"]["description"] == "The new order"
    order = schema_of(document, responses["201"]["content"]["application/json"])
    assert order["properties"]["at"]["format"] == "date-time"
    assert responses["409"]["description"] == "An order with this number exists"
    assert schema_of(document, responses["409"]["content"]["application/json"])["required"] == ["error"]
    assert responses["402"] == {"$ref": "#/components/responses/402"}
    assert document["components"]["responses"]["402"]["description"] == "Payment required."


@pytest.mark.parametrize(
    ("name", "status", "content"),
    [
        ("destroy", "204", None),
        ("total", "200", "application/json"),
        ("text", "200", "text/html"),
        ("chunks", "200", "text/plain"),
        ("export", "200", "text/csv"),
        ("plain", "200", "*/*"),
        ("unknown", "200", "*/*"),
        ("untyped", "200", "*/*"),
        ("created", "201", "*/*"),
        ("rows", "200", "text/plain"),
        ("redirected", "303", None),
        ("orm", "200", "*/*"),
        ("any", "200", "application/json"),
        ("load", "202", "application/json"),
    ],
)
def test_success_is_described_by_declaration_or_annotation(document, name, status, content):
    successes = {key: each for key, each in operation(document, name)["responses"].items() if key < "400"}

    assert list(successes) == [status]
    assert list(successes[status].get("content", [])) == ([content] if content else [])


def test_return_annotation_of_a_model_has_its_schema(document):
    returned = operation(document, "index")["responses"]["200"]["content"]["application/json"]["schema"]
    assert returned["type"] == "array" and returned["items"]["$ref"].startswith("#/components/schemas/Order")
    total = schema_of(document, operation(document, "total")["responses"]["200"]["content"]["application/json"])
    assert total["properties"]["amount"]["type"] == "string"  # as the application sends a Decimal


def test_accepted_types_are_described_and_enforced(document, orders):
    assert set(operation(document, "load")["requestBody"]["content"]) == {"text/csv", "application/x-ndjson"}

    assert post(orders, "/orders/load", b"a,b", "text/csv; charset=utf-8").json == {"bytes": 3}
    assert post(orders, "/orders/load", b"a,b", "TEXT/CSV").status == 202
    for content_type in ("application/json", "text/plain", "text/csvx", "nonsense", None):
        assert post(orders, "/orders/load", b"{}", content_type).status == 415
    assert request(orders, "POST", "/orders/load").status == 202  # nothing was sent


def test_body_of_an_action_that_declares_nothing_is_of_any_type(document):
    assert set(operation(document, "other")["requestBody"]["content"]) == {"*/*"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/orders", b'{"items": [{"sku": "a"}]}', 201),
        ("/orders", b'{"items": []}', 409),
        ("/orders", b"{}", 422),
        ("/other", b"{}", 202),
        ("/by-json", b"{}", 201),
        ("/without-content", b"{}", 201),
        ("/redirected", b"{}", 302),
        ("/fails", b"{}", 418),
    ],
)
def test_first_declared_success_is_the_status_unless_the_action_sets_another(orders, path, body, status):
    assert post(orders, path, body).status == status


def test_deprecated_action_is_marked(document):
    assert operation(document, "old")["deprecated"] is True
    assert "deprecated" not in operation(document, "plain")


@pytest.mark.parametrize("status", [99, 199, 600, 1000])
def test_status_that_does_not_exist_cannot_be_declared(status):
    with pytest.raises(ValueError, match="200 to 599"):
        responds(status)


@pytest.mark.parametrize("types", [("csv",), ("text/",), ("/csv",), ("Text/CSV",), ("text/csv; charset=utf-8",)])
def test_content_type_that_does_not_exist_cannot_be_declared(types):
    with pytest.raises(ValueError, match="text/csv"):
        accepts(*types)


def test_operation_id_is_readable():
    assert operation_id("get", "/") == "get"
    assert operation_id("get", "/orders") == "get_orders"
    assert operation_id("put", "/orders/{id}") == "put_orders__id"
    assert operation_id("get", "/order-lines/{id}/tax") == "get_orderLines__id_tax"


PARTS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_.-]{1,4}", fullmatch=True), st.sampled_from(["{id}", "{a_b}", "id", "a-b", "aB", "a_b"])
)
PATHS = st.lists(PARTS, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.tuples(st.sampled_from(["get", "post"]), PATHS), st.tuples(st.sampled_from(["get", "post"]), PATHS))
def test_operations_never_share_an_id(one, other):
    if one != other:
        assert operation_id(*one) != operation_id(*other)
