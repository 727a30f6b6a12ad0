"""Typed input: models read from bodies, forms and queries, with every fault."""

import io
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Annotated, Optional

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from zuplo_origin.http.content import Content
from zuplo_origin.http.errors import HttpException
from zuplo_origin.http.typed import models_of, read_model


class Item(BaseModel):
    sku: str = Field(min_length=1)
    price: Decimal


class Order(BaseModel):
    items: list[Item]
    total: Optional[Decimal] = None  # noqa: UP045  # as users of Python 3.9 spell it
    prices: dict[str, Annotated[Decimal, Field(ge=0)]] = {}
    weight: float = 0
    note: object = None

    @field_validator("note")
    @classmethod
    def check_note(cls, value):
        if value == "bad":
            raise ValueError("a note must not be bad")
        return value

    @model_validator(mode="after")
    def check_all(self):
        if self.weight < 0:
            raise ValueError("weight and items do not fit")
        return self


class Search(BaseModel):
    model_config = ConfigDict(strict=True)

    page: int = 1
    tag: list[str] = []
    since: date | None = None
    open: bool = False


class Aliased(BaseModel):
    unit_price: Decimal = Field(alias="unitPrice")


def request(method="POST", body=b"", kind="application/json", query=None):
    environ = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    return SimpleNamespace(
        get_request_method=lambda: method,
        content=Content(environ),
        input_bag=SimpleNamespace(query_string=query or {}),
    )


def faults(model, **sent):
    with pytest.raises(HttpException) as raised:
        read_model(model, request(**sent))
    assert raised.value.status == 422
    return raised.value.details


def test_a_body_becomes_a_model():
    order = read_model(Order, request(body=b'{"items": [{"sku": "a", "price": 1}]}'))

    assert order == Order(items=[Item(sku="a", price=Decimal(1))])


def test_decimals_keep_every_digit_and_other_numbers_stay_numbers():
    body = (
        b'{"items": [{"sku": "a", "price": 1.10000000000000000000001}], "total": 2.50, "prices": {"x": 1e2, "y": 3.0},'
    )
    order = read_model(Order, request(body=body + b'"weight": 1.10, "note": 1.50}'))

    assert str(order.items[0].price) == "1.10000000000000000000001"
    assert (str(order.total), str(order.prices["x"]), str(order.prices["y"])) == ("2.50", "1E+2", "3.0")
    assert (order.weight, order.note) == (1.1, 1.5)


def test_a_decimal_under_an_alias_keeps_every_digit():
    assert str(read_model(Aliased, request(body=b'{"unitPrice": 1.10}')).unit_price) == "1.10"


def test_every_fault_is_reported_with_its_path():
    found = faults(Order, body=b'{"items": [{"sku": "", "price": "x"}, 5], "total": [], "note": "bad"}')

    assert [each["field"] for each in found] == ["items.0.sku", "items.0.price", "items.1", "total", "note"]
    assert found[-1]["message"] == "a note must not be bad"
    assert all(set(each) == {"field", "message"} for each in found)


def test_a_fault_of_the_whole_body_has_no_field():
    assert faults(Order, body=b'{"items": [], "weight": -1}') == [
        {"field": "", "message": "weight and items do not fit"}
    ]
    assert faults(Order, body=b"[]")[0]["field"] == ""


def test_an_empty_body_lacks_every_required_field():
    assert faults(Order, kind="") == [{"field": "items", "message": "Field required"}]


@pytest.mark.parametrize("body", [b"{", b'{"page": 1, "page": 2}', b'{"page": NaN}'])
def test_json_that_is_not_strict_is_400(body):
    with pytest.raises(HttpException) as raised:
        read_model(Search, request(body=body))
    assert raised.value.status == 400


def test_a_strict_model_takes_date_strings_and_rejects_numbers_in_strings():
    assert read_model(Search, request(body=b'{"since": "2026-01-02"}')).since == date(2026, 1, 2)
    assert faults(Search, body=b'{"page": "2"}')[0]["field"] == "page"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_query_becomes_a_model_and_a_repeated_key_fills_a_list(method):
    query = {"page": "2", "tag": ["a", "b"], "since": "2026-01-02", "open": "true", "other": "x"}

    search = read_model(Search, request(method, query=query))

    assert search == Search(page=2, tag=["a", "b"], since=date(2026, 1, 2), open=True)
    assert read_model(Search, request(method, query={"tag": "a"})).tag == ["a"]
    assert faults(Search, method=method, query={"page": "x"})[0]["field"] == "page"


def test_a_form_becomes_a_model():
    form = {"kind": "application/x-www-form-urlencoded", "body": b"page=2&tag=a"}

    assert read_model(Search, request(**form)) == Search(page=2, tag=["a"])


def test_the_model_of_an_action_is_found_beside_other_parameters():
    def with_model(self, number: int, search: Search, other):
        pass

    def without(self, number: int):
        pass

    def with_two(self, search: Search, order: Order):
        pass

    assert models_of(with_model) == (Search, ()) and models_of(without) == (None, ())
    with pytest.raises(TypeError, match="an action takes one"):
        models_of(with_two)
