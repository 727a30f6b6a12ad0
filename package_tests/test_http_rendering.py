"""Values that actions return, as JSON."""

import json
from collections import namedtuple
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from masoniteorm.collection import Collection
from masoniteorm.pagination import LengthAwarePaginator
from pydantic import BaseModel

from zuplo_origin.http.rendering import encode, register_type

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=timezone.utc)
BIG = 2**80  # more than orjson takes: the standard library encodes


class Color(Enum):
    RED = "red"


@dataclass
class Money:
    amount: Decimal
    at: datetime


class Account(BaseModel):
    owner: str
    balance: Decimal


class Post:
    """As the ORM's models, which need a database."""

    def serialize(self):
        return {"id": 1, "price": Decimal("1.10"), "at": NOON}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOON, "2026-01-02T12:00:00Z"),
        (NOON.replace(tzinfo=None), "2026-01-02T12:00:00Z"),
        (NOON.astimezone(timezone(timedelta(hours=2))), "2026-01-02T14:00:00+02:00"),
        (NOON.replace(microsecond=5), "2026-01-02T12:00:00.000005Z"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2, 3), "01:02:03"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Color.RED, "red"),
        ({1}, [1]),
        (frozenset(), []),
        ((1, 2), [1, 2]),
        (namedtuple("Pair", "a b")(1, 2), [1, 2]),
        (Money(Decimal("2.0"), NOON), {"amount": "2.0", "at": "2026-01-02T12:00:00Z"}),
        (Account(owner="a", balance=Decimal("1.10")), {"owner": "a", "balance": "1.10"}),
        ("é\u2028", "é\u2028"),
    ],
)
def test_a_value_is_the_same_alone_nested_and_beside_a_large_number(value, expected):
    assert json.loads(encode(value)) == expected
    assert json.loads(encode({"a": [{"b": value}], "null": None})) == {"a": [{"b": expected}], "null": None}
    assert json.loads(encode([value, BIG])) == [expected, BIG]


def test_a_model_of_the_orm_a_collection_and_a_page_are_json():
    post = Post()
    row = {"id": 1, "price": "1.10", "at": "2026-01-02T12:00:00Z"}
    page = LengthAwarePaginator(Collection([post]), 10, 1, 1)

    assert json.loads(encode(post)) == row
    assert json.loads(encode({"posts": Collection([post])})) == {"posts": [row]}
    assert json.loads(encode(page))["data"] == [row] and json.loads(encode(page))["meta"]["total"] == 1


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800", object(), Money, b"x", {b"x": 1}, {"a": BIG, "b": 1j}]
)
def test_what_json_does_not_have_is_an_error(value):
    with pytest.raises((TypeError, ValueError)):
        encode({"a": value})


def test_a_type_can_be_registered(monkeypatch):
    monkeypatch.setattr("zuplo_origin.http.rendering._types", {})
    register_type(complex, lambda value: [value.real, value.imag])

    assert json.loads(encode({"z": 1 + 2j})) == {"z": [1.0, 2.0]}
