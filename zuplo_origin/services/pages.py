"""Pages of rows: a model declares what a caller may filter and sort by, and the response is typed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timezone
from decimal import Decimal
from enum import Enum
from inspect import isclass
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from zuplo_origin.http.errors import ValidationFailed

Row = TypeVar("Row")

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
DIGITS = 1000
"""Digits of a decimal number, and places behind its point, that are compared with a column."""
_OWN = ("page", "per_page", "sort")


@dataclass(frozen=True)
class Filter:
    """The comparison of a field of a ``PageQuery``: ``created_after: Annotated[datetime | None, Filter(…)] = None``.

    ``column`` is the column of the table, ``None`` for a field that is no filter; ``operator`` is one of ``OPERATORS``.
    Raises ``ValueError`` for another one.
    """

    column: str | None
    operator: str = "="

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise ValueError(f"Filter({self.column!r}, {self.operator!r}): the operators are {' '.join(OPERATORS)}")


class PageMeta(BaseModel):
    """Numbers of a page, as in Masonite's paginator."""

    total: int = Field(description="Rows on all pages", examples=[1])
    count: int = Field(description="Rows on this page", examples=[1])
    per_page: int = Field(examples=[20])
    current_page: int = Field(examples=[1])
    last_page: int = Field(examples=[1])
    next_page: int | None = Field(examples=[None])
    previous_page: int | None = Field(examples=[None])


class PageLinks(BaseModel):
    """References to other pages, relative to the URL of the request, so that they hold behind every gateway."""

    first: str = Field(examples=["?page=1"])
    last: str = Field(examples=["?page=1"])
    next: str | None = Field(examples=[None])
    previous: str | None = Field(examples=[None])


class Page(BaseModel, Generic[Row]):
    """A page of a list: ``def index(…) -> Page[OrderView]``."""

    data: list[Row]
    meta: PageMeta
    links: PageLinks


class PageQuery(BaseModel):
    """The query string of a list. Subclass it; what it does not declare is 422, and never reaches the database.

    Each field is a filter: a value that is sent must equal the column of the same name, or be one of its values if
    the field is a list. ``Annotated[…, Filter(column, operator)]`` names another column or comparison.
    ``sort: Literal["id", "-created_at"] = "id"`` declares the orders; ``-`` is descending. Declare ``per_page`` again
    for another largest page. Raises ``TypeError`` for a ``sort`` of another type.
    """

    model_config = ConfigDict(extra="forbid")

    page: int = Field(default=1, ge=1, le=1_000_000, description="The page, from 1")
    per_page: int = Field(default=20, ge=1, le=100, description="Rows on a page")

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        sort = cls.model_fields.get("sort")
        if sort is not None and get_origin(sort.annotation) is not Literal:
            raise TypeError(f'{cls.__name__}.sort: declare the orders, as in Literal["id", "-created_at"]')
        for name, field in cls.model_fields.items():
            if Filter in field.metadata or _has_filter(field.annotation):
                example = 'Annotated[int | None, Filter("column", "<")]'
                raise TypeError(f"{cls.__name__}.{name}: a Filter stands around the whole type, as in {example}")
            operator = next((each.operator for each in field.metadata if isinstance(each, Filter)), "=")
            if operator not in ("=", "!=") and _has_list(field.annotation):
                raise TypeError(f"{cls.__name__}.{name}: a list is compared by = or !=, not by {operator}")

    def paginate(self, rows: Any, view: type[Row]) -> Page[Row]:
        """Return the page of ``rows`` that the caller wants, each as a ``view``: a model, which leaves out the rest.

        ``rows`` is a model of the ORM or a query, such as ``Order.where("owner", sub)``. Its primary key is the last
        order, so that no row is on two pages.
        """
        query: Any = self.select(rows.select("*") if isclass(rows) else rows)  # type: ignore[attr-defined]
        found = query.paginate(self.per_page, self.page)
        adapter = TypeAdapter(view)
        data = [adapter.validate_python(row, from_attributes=True) for row in found.result]
        last = max(found.last_page, 1)
        meta = PageMeta(
            total=found.total,
            count=found.count,
            per_page=self.per_page,
            current_page=self.page,
            last_page=last,
            next_page=self.page + 1 if self.page < last else None,
            previous_page=min(self.page - 1, last) or None,
        )
        links = PageLinks(
            first=self._link(1),
            last=self._link(last),
            next=self._link(meta.next_page) if meta.next_page else None,
            previous=self._link(meta.previous_page) if meta.previous_page else None,
        )
        return Page[view](data=data, meta=meta, links=links)  # type: ignore[valid-type]

    def select(self, query: Any) -> Any:
        """Add the filters and the order to ``query``, a query of the ORM, and return it.

        Raises ``ValidationFailed``, 422, for a value that no database compares with a column.
        """
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in _OWN or value is None:
                continue
            declared = next((each for each in field.metadata if isinstance(each, Filter)), Filter(name))
            if declared.column is None:
                continue
            many = isinstance(value, (list, tuple, set, frozenset))
            try:
                bound = [_bound(each) for each in (value if many else [value])]
            except (OverflowError, ValueError) as error:
                raise ValidationFailed({field.alias or name: str(error)}) from None
            if not many:
                query = query.where(declared.column, declared.operator, bound[0])
            elif bound:
                among = query.where_in if declared.operator == "=" else query.where_not_in
                query = among(declared.column, bound)
        sort = getattr(self, "sort", "")
        direction = "desc" if sort.startswith("-") else "asc"
        key = query._model.get_primary_key() if getattr(query, "_model", None) else None
        for column in dict.fromkeys(filter(None, (sort.removeprefix("-"), key))):
            query = query.order_by(column, direction)
        return query

    def _link(self, page: int) -> str:
        sent: Mapping[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        return "?" + urlencode({**sent, "page": page}, doseq=True)


def _has_filter(annotation: Any) -> bool:
    metadata = getattr(annotation, "__metadata__", ())
    return any(isinstance(each, Filter) or each is Filter for each in metadata) or any(
        _has_filter(each) for each in get_args(annotation)
    )


def _has_list(annotation: Any) -> bool:
    return get_origin(annotation) in (list, tuple, set, frozenset) or any(
        _has_list(each) for each in get_args(annotation)
    )


def _bound(value: Any) -> Any:
    """Return ``value`` in the form that databases compare with a column's. Raises if there is none.

    Raises ``ValueError`` for text with NUL and for a number that is not finite, ``OverflowError`` for an integer of
    more than 64 bits, for other numbers of more than 1,000 digits and for a time that is out of range in UTC, and
    ``TypeError`` for a type that no column has.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str) and "\0" in value:
        raise ValueError("text with a NUL character")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("number that is not finite")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise OverflowError("integer out of range")
    if isinstance(value, Decimal):
        if max(abs(value.adjusted()), abs(int(value.as_tuple().exponent))) > DIGITS:
            raise OverflowError("number out of range")
        return str(value)
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(timezone.utc).replace(tzinfo=None)
        return value.isoformat(" ")  # as the ORM writes timestamps, in UTC
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, (str, int, float)):
        raise TypeError(f"no column is compared with {type(value).__name__}; declare Filter(None), and use it yourself")
    return value
