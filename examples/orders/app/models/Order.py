"""The table of orders."""

from typing import Any

from masoniteorm.models import Model


class Order(Model):
    """An order. `owner` is the `sub` of the caller who created it."""

    __fillable__ = ["owner", "reference", "customer", "quantity", "price_cents", "due", "status"]

    @classmethod
    def of(cls, owner: str, id: int) -> Any:
        """Return the query for an order of `owner`, which does not find the orders of other callers."""
        return cls.where("owner", owner).where("id", id)
