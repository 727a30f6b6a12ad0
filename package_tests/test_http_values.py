"""Values of pydantic models in responses, and the text and lists that forms and queries may have for them."""

import json
from datetime import date

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zuplo_origin.http.rendering import encode
from zuplo_origin.http.typed import _from_fields


class Price(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    unit_price: bytes = Field(alias="unitPrice")
    since: date = date(2026, 1, 2)


class Filter(BaseModel):
    tags: list[str] | None = None
    name: str = ""


def test_model_is_encoded_with_aliases_and_as_pydantics_json():
    assert json.loads(encode(Price(unit_price=b"5"))) == {"unitPrice": "5", "since": "2026-01-02"}
    assert json.loads(encode({"prices": [Price(unit_price=b"5")]}))["prices"][0]["unitPrice"] == "5"


def test_value_that_json_lacks_is_named_by_its_type():
    with pytest.raises(TypeError, match="JSON has no complex"):
        encode({"z": 1j})


def test_single_value_fills_an_optional_list():
    assert _from_fields(Filter, {"tags": "a"}).tags == ["a"]
    assert _from_fields(Filter, {"tags": ["a", "b"], "name": "n"}).tags == ["a", "b"]


@pytest.mark.parametrize("value", [[b"file"], {"a": b"file"}, {"a": ["b", 1]}, b"file"])
def test_values_that_are_not_text_are_left_out(value):
    assert _from_fields(Filter, {"name": value}).name == ""


def test_nested_text_is_validated():
    with pytest.raises(ValidationError):
        _from_fields(Filter, {"name": {"a": "b"}})
