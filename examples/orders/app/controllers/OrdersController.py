"""The orders of the caller."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request

from app.models.Order import Order
from app.schemas import NewOrder, OrderChange, OrderPage, OrderSearch, OrderView
from zuplo_origin.http import HttpException
from zuplo_origin.openapi import responds
from zuplo_origin.services import UniqueViolation


class OrdersController(Controller):
    """Orders. Each caller sees its own."""

    @responds(200, OrderPage)
    def index(self, request: Request, search: OrderSearch) -> Any:
        """List orders."""
        return Order.search(search, request.claim("sub"))

    @responds(200, OrderView)
    @responds(404)
    def show(self, request: Request, id: int) -> Any:
        """Return an order."""
        return Order.of(request.claim("sub"), id)

    @responds(201, OrderView)
    @responds(409, description="The caller has an order with this reference")
    def store(self, request: Request, order: NewOrder) -> Any:
        """Create an order."""
        try:
            created = Order.create({**order.model_dump(mode="json"), "owner": request.claim("sub"), "status": "open"})
        except UniqueViolation:
            raise HttpException(409, "there is an order with this reference") from None
        return created.fresh()

    @responds(200, OrderView)
    @responds(404)
    def update(self, request: Request, id: int, change: OrderChange) -> Any:
        """Change fields of an order."""
        order = Order.of(request.claim("sub"), id)
        order.update(change.model_dump(mode="json", exclude_unset=True))
        return order.fresh()

    @responds(204)
    @responds(404)
    def destroy(self, request: Request, id: int) -> None:
        """Delete an order."""
        Order.of(request.claim("sub"), id).delete()
