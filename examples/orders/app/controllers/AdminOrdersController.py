"""The orders of all callers."""

from typing import Any

from masonite.controllers import Controller

from app.models.Order import Order
from app.schemas import OrderPage, OrderSearch
from zuplo_origin.openapi import responds


class AdminOrdersController(Controller):
    """Orders of all callers, for administrators."""

    @responds(200, OrderPage)
    def index(self, search: OrderSearch) -> Any:
        """List the orders of all callers."""
        return Order.search(search)
