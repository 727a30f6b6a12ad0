"""The types of requests and responses."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# No control characters: PostgreSQL has no text with NUL. No formulas: exports are opened in spreadsheets.
Text = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f=+@-][^\x00-\x1f\x7f]*$")]
Reference = Annotated[str, Field(max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Quantity = Annotated[int, Field(ge=1, le=1_000_000)]
Cents = Annotated[int, Field(ge=0, le=100_000_000_000)]
Status = Literal["open", "paid", "cancelled"]


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelled field is 422


class NewOrder(Input):
    reference: Reference
    customer: Text
    quantity: Quantity
    price_cents: Cents
    due: date


class OrderChange(Input):
    """The fields to change. The others stay."""

    customer: Text = ""
    quantity: Quantity = 1
    price_cents: Cents = 0
    due: date = date.min
    status: Literal["open", "cancelled"] = "open"


class OrderSearch(Input):
    page: int = Field(default=1, ge=1, le=1_000_000)
    per_page: int = Field(default=20, ge=1, le=100)
    status: Status | None = None
    due_before: date | None = None
    sort: Literal["id", "-id", "due", "-due", "price_cents", "-price_cents"] = "id"


class Payment(Input):
    event: Literal["paid"]
    order: int = Field(ge=1, lt=2**63)


class OrderView(BaseModel):
    id: int
    reference: str
    customer: str
    quantity: int
    price_cents: int
    due: date
    status: Status
    created_at: datetime
    updated_at: datetime


class Meta(BaseModel):
    total: int
    count: int
    current_page: int
    last_page: int
    next_page: int | None
    previous_page: int | None


class OrderPage(BaseModel):
    data: list[OrderView]
    meta: Meta


class Imported(BaseModel):
    imported: int
