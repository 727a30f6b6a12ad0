"""The orders of all callers."""

from masonite.controllers import Controller

from app.models.Order import Order
from app.schemas import OrderQuery, OrderView
from zuplo_origin.services import Page


class AdminOrdersController(Controller):
    """Orders of all callers, for administrators."""

    def index(self, query: OrderQuery) -> Page[OrderView]:
        """List the orders of all callers."""
        return query.paginate(Order, OrderView)
