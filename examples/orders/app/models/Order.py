"""The table of orders."""

from typing import Any

from masoniteorm.models import Model

from app.schemas import OrderSearch
from zuplo_origin.http import HttpException

LARGEST_ID = 2**63 - 1


class Order(Model):
    """An order. `owner` is the `sub` of the caller who created it."""

    __fillable__ = ["owner", "reference", "customer", "quantity", "price_cents", "due", "status"]
    __hidden__ = ["owner"]

    @classmethod
    def of(cls, owner: str, id: int) -> "Order":
        """Return an order of `owner`. An order of another caller is 404, as one that does not exist."""
        found = cls.where("owner", owner).where("id", id).first() if id <= LARGEST_ID else None
        if found is None:
            raise HttpException(404)
        return found

    @classmethod
    def search(cls, search: OrderSearch, owner: str | None = None) -> Any:
        """Return a page of the orders that match, of one owner or of all."""
        query = cls.select("*")
        if owner is not None:
            query.where("owner", owner)
        if search.status is not None:
            query.where("status", search.status)
        if search.due_before is not None:
            query.where("due", "<", search.due_before.isoformat())
        direction = "desc" if search.sort.startswith("-") else "asc"
        query.order_by(search.sort.removeprefix("-"), direction).order_by("id", direction)
        return query.paginate(search.per_page, search.page)
