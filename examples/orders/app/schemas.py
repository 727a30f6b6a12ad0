"""The types of requests and responses."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zuplo_origin.services import Filter, PageQuery

# No control characters: PostgreSQL has no text with NUL. No formulas: exports are opened in spreadsheets.
Text = Annotated[
    str,
    Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f=+@-][^\x00-\x1f\x7f]*$", examples=["Ada Lovelace"]),
]
Reference = Annotated[str, Field(max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", examples=["A-1001"])]
Quantity = Annotated[int, Field(ge=1, le=1_000_000, examples=[3])]
Cents = Annotated[int, Field(ge=0, le=100_000_000_000, examples=[1999])]
Day = Annotated[date, Field(examples=["2026-12-01"])]
Status = Literal["open", "paid", "cancelled"]


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelled field is 422


class NewOrder(Input):
    reference: Reference
    customer: Text
    quantity: Quantity
    price_cents: Cents
    due: Day


def without_defaults(schema: dict[str, Any]) -> None:
    """Leave the defaults out of the API description: a field that is absent stays as it is."""
    for each in schema["properties"].values():
        each.pop("default", None)


class OrderChange(Input):
    """The fields to change. The others stay."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    customer: Text = ""
    quantity: Quantity = 1
    price_cents: Cents = 0
    due: Day = date.min
    status: Literal["open", "cancelled"] = "open"


class OrderQuery(PageQuery):
    """The filters and the orders of lists. Nothing else that a caller sends reaches the query."""

    status: Status | None = Field(None, description="Only orders with this status")
    due_before: Annotated[date | None, Filter("due", "<")] = Field(None, description="Only orders due before this day")
    sort: Literal["id", "-id", "due", "-due", "price_cents", "-price_cents"] = Field(
        "id", description="The field to sort by; with `-`, in descending order"
    )


class Payment(Input):
    event: Literal["paid"]
    order: int = Field(ge=1, lt=2**63)


class OrderView(BaseModel):
    """An order as callers see it: without its owner."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[7])
    reference: str = Field(examples=["A-1001"])
    customer: str = Field(examples=["Ada Lovelace"])
    quantity: int = Field(examples=[3])
    price_cents: int = Field(examples=[1999])
    due: Day
    status: Status
    created_at: datetime = Field(examples=["2026-11-02T09:30:00Z"])
    updated_at: datetime = Field(examples=["2026-11-02T09:30:00Z"])


class Imported(BaseModel):
    imported: int = Field(examples=[2], description="The number of orders that were created")
