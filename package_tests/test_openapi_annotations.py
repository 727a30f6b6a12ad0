"""The description of types that pydantic knows: valid OpenAPI 3.1, and JSON that a reader understands."""

import json
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Generic, Literal, Optional, TypeVar
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from masonite.controllers import Controller
from masonite.request import Request
from masonite.routes import Route
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel, Field, SecretStr, computed_field

from package_tests.support.applications import application as application_of
from zuplo_origin.openapi import accepts, responds
from zuplo_origin.openapi.description import Description

T = TypeVar("T")


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    is_good: bool


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Node(BaseModel):
    """A part of a tree."""

    name: str = Field(examples=["root"])
    children: list["Node"] = []


class Page(BaseModel, Generic[T]):
    data: list[T]
    next_page: int | None = None


class Thing(BaseModel):
    number: int = Field(alias="theNumber", examples=[7])
    color: Color
    price: Decimal = Field(max_digits=5, decimal_places=2, examples=["1.10"])
    id: UUID = Field(examples=["0b0e6d0a-8a3b-4b43-9d51-6a1d9c6f2f11"])
    at: datetime = Field(examples=["2026-01-01T00:00:00Z"])
    day: date = Field(examples=["2026-01-01"])
    code: Annotated[str, Field(pattern="^[A-Z]{3}$")] = Field(examples=["ABC"])
    pet: Pet
    tree: Node
    sizes: tuple[int, str] | None = None
    counts: dict[str, int] = Field(examples=[{"a": 1}])
    labels: set[str] = set()
    password: SecretStr = "of-the-server"
    limit: float = float("inf")
    note: Optional[str] = None  # noqa: UP045  # the older spelling too
    unit_price: int = Field(1, title="Price of one")

    @computed_field(examples=[7])
    @property
    def total(self) -> int:
        return self.number


class Search(BaseModel):
    tags: list[str] = []
    ids: list[UUID] = Field(default_factory=list, max_length=3)
    color: Color | None = None
    since: datetime | None = Field(None, description="From this time on")
    per_page: int | None = Field(None, alias="per-page", ge=1)
    price: Decimal | None = None
    order: Literal["name", "-name"]


class Form(BaseModel):
    name: str
    age: int | None = None


class PetHTMLController(Controller):
    """Pets and ``things``.

    And more.
    """

    @responds(201, Page[Thing])
    def store(self, thing: Thing):
        """Create a thing."""

    def index(self, search: Search) -> list[Pet]:
        """List the pets"""

    @responds(200, Page[Cat])
    @responds(409, Page[Dog])
    def form(self, form: Form): ...

    def tree(self) -> Node: ...

    def grow(self, node: Node) -> Node | None: ...

    def by_name(self) -> dict[str, list[Pet]]: ...

    @accepts("multipart/form-data")
    def upload(self, request: Request) -> Thing | None: ...

    @accepts("text/csv", "application/json", example="a,b\n")
    def load(self, request: Request) -> dict: ...

    def accept(self, form: Form) -> tuple[Form, Literal[202]]: ...

    @responds(201)
    def copy(self, form: Form) -> tuple[Form, int]: ...

    def pair(self) -> tuple[int, str]: ...

    def forget(self) -> tuple[None, Literal[205]]: ...


@pytest.fixture(scope="module")
def document():
    made = application_of(
        Route.post("/things", PetHTMLController.store),
        Route.get("/pets", PetHTMLController.index),
        Route.post("/form", PetHTMLController.form),
        Route.get("/tree", PetHTMLController.tree),
        Route.put("/tree", PetHTMLController.grow),
        Route.get("/by-name", PetHTMLController.by_name),
        Route.post("/upload", PetHTMLController.upload),
        Route.post("/load", PetHTMLController.load),
        Route.post("/accepted", PetHTMLController.accept),
        Route.post("/copies", PetHTMLController.copy),
        Route.get("/pair", PetHTMLController.pair),
        Route.delete("/pair", PetHTMLController.forget),
    )
    return Description(made.make("router"), "Things", "1", "Authorization", "Bearer").document()


def content(document, path, method, part, kind="application/json"):
    operation = document["paths"][path][method]
    return (operation["requestBody"] if part == "body" else operation["responses"][part])["content"][kind]


def validator(document, schema):
    return Draft202012Validator(schema | {"components": document["components"]})


def test_description_of_all_kinds_of_types_is_valid(document):
    text = json.dumps(document, allow_nan=False)
    validate(json.loads(text), cls=OpenAPIV31SpecValidator)

    assert "of-the-server" not in text


@pytest.mark.parametrize(
    ("path", "method", "part"),
    [("/things", "post", "body"), ("/things", "post", "201"), ("/tree", "get", "200"), ("/form", "post", "409")],
)
def test_example_of_a_model_is_made_from_its_fields(document, path, method, part):
    found = content(document, path, method, part)

    validator(document, found["schema"]).validate(found["example"])


def test_model_without_examples_has_none(document):
    assert "example" not in content(document, "/form", "post", "body")  # `name` has none
    assert content(document, "/tree", "put", "body")["example"] == {"name": "root", "children": []}


def test_parameter_that_may_be_absent_is_not_null(document):
    parameters = {each["name"]: each for each in document["paths"]["/pets"]["get"]["parameters"]}

    assert parameters["color"]["schema"] == {"$ref": "#/components/schemas/Color"}
    assert parameters["since"]["schema"] == {"type": "string", "format": "date-time"}
    assert parameters["since"]["description"] == "From this time on"
    assert parameters["per-page"]["schema"] == {"type": "integer", "minimum": 1}
    assert [each["type"] for each in parameters["price"]["schema"]["anyOf"]] == ["number", "string"]
    assert parameters["ids"]["schema"]["items"] == {"type": "string", "format": "uuid"}
    assert {name for name, each in parameters.items() if each["required"]} == {"order"}
    assert "null" not in json.dumps(parameters)


def test_title_that_repeats_the_name_of_a_field_is_left_out(document):
    fields = document["components"]["schemas"]["Thing-Input"]["properties"]

    assert fields["unit_price"]["title"] == "Price of one"
    assert [name for name, each in fields.items() if "title" in each] == ["unit_price"]


def test_model_that_is_read_and_returned_alike_is_one_component(document):
    schemas = document["components"]["schemas"]

    assert "Node" in schemas and not {"Node-Input", "Node-Output"} & set(schemas)
    assert schemas["Node"]["properties"]["children"]["items"] == {"$ref": "#/components/schemas/Node"}
    assert {"Thing-Input", "Thing-Output"} <= set(schemas)  # `total` is in responses alone


def test_discriminator_leads_to_the_components(document):
    items = content(document, "/pets", "get", "200")["schema"]["items"]

    assert items["discriminator"]["mapping"] == {"cat": "#/components/schemas/Cat", "dog": "#/components/schemas/Dog"}


def test_example_of_a_body_that_the_action_reads(document):
    assert content(document, "/load", "post", "body", "text/csv")["example"] == "a,b\n"
    assert "example" not in content(document, "/upload", "post", "body", "multipart/form-data")


def test_value_with_its_status_is_described_by_both(document):
    form = {"$ref": "#/components/schemas/Form"}

    assert content(document, "/accepted", "post", "202")["schema"] == form
    assert content(document, "/copies", "post", "201")["schema"] == form
    assert content(document, "/pair", "get", "200")["schema"]["type"] == "array"  # its second value is no status
    assert "content" not in document["paths"]["/pair"]["delete"]["responses"]["205"]


def test_tag_is_the_controller_in_words_with_its_docstring(document):
    assert document["tags"] == [{"name": "Pet HTML", "description": "Pets and `things`.\n\nAnd more."}]
    assert {each["tags"][0] for entry in document["paths"].values() for each in entry.values()} == {"Pet HTML"}


def test_summary_is_the_first_line_without_its_full_stop(document):
    assert document["paths"]["/things"]["post"]["summary"] == "Create a thing"
    assert document["paths"]["/pets"]["get"]["summary"] == "List the pets"
