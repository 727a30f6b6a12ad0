"""Pages of rows: filters and orders that a model declares, on both databases."""

import sys
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
from masonite.controllers import Controller
from masonite.routes import Route
from masoniteorm.connections import ConnectionResolver
from masoniteorm.models import Model
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel, Field

from package_tests.support.applications import application as make_application
from package_tests.support.database import details_of
from package_tests.support.mysql import MysqlServer
from package_tests.support.postgres import PostgresServer
from package_tests.support.wsgi_client import request
from zuplo_origin.openapi.description import Description
from zuplo_origin.services import Filter, Page, PageQuery
from zuplo_origin.services.database import install

TABLE = """
CREATE TABLE invoices (
    id INTEGER PRIMARY KEY, owner VARCHAR(20), status VARCHAR(20), total DECIMAL(10, 2), due DATE, sent_at TIMESTAMP
)
"""
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


class Invoice(Model):
    __timestamps__ = None
    __fillable__ = ("id", "owner", "status", "total", "due", "sent_at")


class Status(Enum):
    OPEN = "open"
    PAID = "paid"


class InvoiceView(BaseModel):
    id: int
    status: Status
    total: Decimal


class InvoiceQuery(PageQuery):
    per_page: int = Field(default=3, ge=1, le=5)
    status: list[Status] | None = None
    due: date | None = None
    sent_after: Annotated[datetime | None, Filter("sent_at", ">")] = None
    largest: Annotated[Decimal | None, Filter("total", "<=")] = None
    note: Annotated[str | None, Filter(None)] = None
    sort: Literal["id", "-id", "-total", "status"] = "id"


class AnyValue(PageQuery):
    word: Annotated[str | None, Filter("status")] = None
    words: Annotated[list[str] | None, Filter("status")] = None
    number: Annotated[int | None, Filter("id")] = None
    at: Annotated[datetime | None, Filter("sent_at", ">")] = Field(default=None, alias="at-time")
    share: Annotated[float | None, Filter("total", "<=")] = None
    largest: Annotated[Decimal | None, Filter("total", "<=")] = None
    not_in: Annotated[list[str] | None, Filter("status", "!=")] = Field(default=None, alias="not")
    of_day: Annotated[time | None, Filter("status")] = None


class InvoicesController(Controller):
    def any(self, query: AnyValue) -> Page[InvoiceView]:
        return query.paginate(Invoice.where("owner", "ann"), InvoiceView)

    def index(self, query: InvoiceQuery) -> Page[InvoiceView]:
        return query.paginate(Invoice.where("owner", "ann"), InvoiceView)

    def all(self, query: PageQuery) -> Page[InvoiceView]:
        return query.paginate(Invoice, InvoiceView)


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def mysql():
    with MysqlServer() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgres", "mysql"])
def application(request, tmp_path_factory):
    """Return an application with ten invoices: 1 to 8 are Ann's, the odd ones paid; 9 and 10 are another's."""
    install()
    details = details_of(request.param, request, tmp_path_factory.mktemp("database"))
    database = ConnectionResolver().set_connection_details({"default": "main", "main": details})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "configured_database", SimpleNamespace(DB=database))
        patch.setenv("DB_CONFIG_PATH", "configured_database")
        database.get_query_builder().statement(TABLE)
        for number in range(1, 11):
            Invoice.create(
                {
                    "id": number,
                    "owner": "ann" if number < 9 else "bob",
                    "status": "paid" if number % 2 else "open",
                    "total": f"{number}.25",
                    "due": f"2026-01-{number:02}",
                    "sent_at": (NOON + timedelta(hours=number)).strftime("%Y-%m-%d %H:%M:%S"),
                }
            )
        yield make_application(
            Route.get("/invoices", InvoicesController.index),
            Route.get("/all", InvoicesController.all),
            Route.get("/any", InvoicesController.any),
        )


def listed(application, query):
    response = request(application, "GET", f"/invoices{query}")
    assert response.status == 200, response.body
    return response.json


def ids(application, query):
    return [row["id"] for row in listed(application, query)["data"]]


def test_page_has_its_rows_numbers_and_links(application):
    page = listed(application, "?page=2&status=paid&status=open")

    assert page["data"][0] == {"id": 4, "status": "open", "total": "4.25"}  # without the owner
    assert page["meta"] == {
        "total": 8,
        "count": 3,
        "per_page": 3,
        "current_page": 2,
        "last_page": 3,
        "next_page": 3,
        "previous_page": 1,
    }
    assert page["links"] == {
        "first": "?page=1&status=paid&status=open",
        "last": "?page=3&status=paid&status=open",
        "next": "?page=3&status=paid&status=open",
        "previous": "?page=1&status=paid&status=open",
    }


def test_links_lead_through_all_rows(application):
    seen, link = [], "?per_page=3&sort=-total&sent_after=2026-01-01T13:00:00Z"
    while link:
        page = listed(application, link)
        seen += [row["id"] for row in page["data"]]
        link = page["links"]["next"]

    assert seen == [8, 7, 6, 5, 4, 3, 2]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?status=paid", [1, 3, 5]),
        ("?status=paid&status=open&per_page=5", [1, 2, 3, 4, 5]),
        ("?due=2026-01-03", [3]),
        ("?sent_after=2026-01-01T19:00:00Z", [8]),
        ("?sent_after=2026-01-01T20:00:00%2B01:00", [8]),  # the same time
        ("?sent_after=2026-01-01T18:59:59.5Z", [7, 8]),
        ("?largest=2.5", [1, 2]),
        ("?largest=10&sort=-id&per_page=2", [8, 7]),
        ("?sort=-id", [8, 7, 6]),
        ("?sort=status&per_page=5", [2, 4, 6, 8, 1]),
        ("?note=anything", [1, 2, 3]),
        ("?page=3", [7, 8]),
        ("?page=4", []),
        ("?page=1000000", []),
    ],
)
def test_caller_filters_and_sorts_by_declared_fields(application, query, expected):
    assert ids(application, query) == expected


def test_page_beyond_the_last_links_back_to_it(application):
    page = listed(application, "?page=9")

    assert page["meta"]["previous_page"] == 3 and page["links"]["previous"] == "?page=3"
    assert page["meta"]["next_page"] is None and page["links"]["next"] is None


def test_empty_list_is_one_page(application):
    page = listed(application, "?due=2030-01-01")

    assert (page["data"], page["meta"]["total"], page["meta"]["last_page"]) == ([], 0, 1)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?owner=bob", "owner"),
        ("?sort=owner", "sort"),
        ("?sort=id;drop", "sort"),
        ("?sort=total", "sort"),  # only "-total" is declared
        ("?per_page=6", "per_page"),
        ("?per_page=0", "per_page"),
        ("?page=0", "page"),
        ("?page=1000001", "page"),
        ("?status=gone", "status.0"),
        ("?due=x", "due"),
    ],
)
def test_anything_else_is_422_and_reaches_no_query(application, query, field):
    response = request(application, "GET", f"/invoices{query}")

    assert response.status == 422
    assert [fault["field"] for fault in response.json["details"]] == [field]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?word=%00", "word"),
        ("?words=a&words=b%00c", "words"),
        (f"?number={2**63}", "number"),
        (f"?number={-(2**63) - 1}", "number"),
        ("?at-time=0001-01-01T00:00:00%2B14:00", "at-time"),
        ("?at-time=9999-12-31T23:59:59-14:00", "at-time"),
        ("?largest=NaN", "largest"),
        ("?share=nan", "share"),
        ("?share=-inf", "share"),
        (f"?number={2**63 - 1}", None),
        (f"?number={-(2**63)}", None),
        ("?at-time=0001-01-01T00:00:00Z", None),
        ("?largest=1e400", None),
        ("?largest=1e-900", None),
        ("?largest=0e0", None),
        ("?largest=1e131072", "largest"),
        ("?largest=1e1000000", "largest"),
        ("?largest=1e-16384", "largest"),
        (f"?largest=0.{'1' * 1500}", "largest"),
        (f"?largest={'1' * 1500}", "largest"),
        ("?not=paid", None),
        ("?of_day=12:00", None),
        ("?word=%ED%A0%80", None),
    ],
)
def test_value_that_no_column_has_is_422_or_finds_no_row(application, query, field):
    response = request(application, "GET", f"/any{query}")

    assert response.status == (422 if field else 200), response.body
    if field:
        assert [fault["field"] for fault in response.json["details"]] == [field]


def test_model_itself_can_be_listed(application):
    response = request(application, "GET", "/all?per_page=100")

    assert [row["id"] for row in response.json["data"]] == list(range(1, 11))


def test_rows_that_are_equal_in_the_order_are_each_on_one_page(application):
    seen = [id for page in range(1, 9) for id in ids(application, f"?sort=status&per_page=1&page={page}")]

    assert sorted(seen) == list(range(1, 9))


@pytest.mark.parametrize("annotation", [str, Literal["id"] | None, list[str]])
def test_sort_must_declare_its_orders(annotation):
    with pytest.raises(TypeError, match="declare the orders"):
        type("Query", (PageQuery,), {"__annotations__": {"sort": annotation}, "sort": "id"})


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[int, Filter("id", "<")] | None,
        list[Annotated[int, Filter("id")]],
        Annotated[int | None, Filter],
        Annotated[list[int] | None, Filter("id", "<")],
    ],
)
def test_filter_that_would_be_ignored_is_an_error(annotation):
    with pytest.raises(TypeError, match=r"^Wrong\.limit: a "):
        type("Wrong", (PageQuery,), {"__annotations__": {"limit": annotation}, "limit": None})


def test_list_is_compared_by_its_operator(application):
    def found(query):
        return {row["status"] for row in request(application, "GET", f"/any{query}").json["data"]}

    assert (found("?words=paid"), found("?not=paid"), found("?not=paid&not=open")) == ({"paid"}, {"open"}, set())


def test_unknown_operator_is_an_error():
    with pytest.raises(ValueError, match="the operators are"):
        Filter("total", "like")


def test_page_and_query_are_described(application):
    document = Description(application.make("router"), "Invoices", "1", "Authorization", "Bearer").document()
    validate(document, cls=OpenAPIV31SpecValidator)
    operation, schemas = document["paths"]["/invoices"]["get"], document["components"]["schemas"]
    parameters = {each["name"]: each["schema"] for each in operation["parameters"]}
    page = schemas[operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]

    assert list(parameters) == ["page", "per_page", "status", "due", "sent_after", "largest", "note", "sort"]
    assert operation["parameters"][0]["description"] == "The page, from 1"
    assert (parameters["per_page"]["maximum"], parameters["sort"]["enum"]) == (5, ["id", "-id", "-total", "status"])
    assert page["properties"]["data"]["items"] == {"$ref": "#/components/schemas/InvoiceView"}
    assert {"PageMeta", "PageLinks"} <= set(schemas)
