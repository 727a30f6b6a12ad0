"""The orders of the caller."""

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response

from app.models.Order import Order
from app.schemas import NewOrder, OrderChange, OrderQuery, OrderView
from config.database import DB
from zuplo_origin.http import HttpException, etag_of
from zuplo_origin.openapi import responds
from zuplo_origin.services import Page, UniqueViolation, idempotent


class OrdersController(Controller):
    """Orders. Each caller sees its own."""

    def index(self, request: Request, query: OrderQuery) -> Page[OrderView]:
        """List orders."""
        return query.paginate(Order.where("owner", request.claim("sub")), OrderView)

    def show(self, request: Request, response: Response, id: int) -> OrderView:
        """Return an order."""
        return with_etag(response, Order.of(request.claim("sub"), id).first_or_fail())

    @responds(201)
    @responds(409, description="The caller has an order with this reference, or the first request with the key runs")
    @idempotent
    def store(self, request: Request, response: Response, order: NewOrder) -> OrderView:
        """Create an order."""
        try:
            created = Order.create({**order.model_dump(mode="json"), "owner": request.claim("sub"), "status": "open"})
        except UniqueViolation:
            raise HttpException(409, "there is an order with this reference") from None
        return with_etag(response, created.fresh())

    @responds(428)
    def update(self, request: Request, response: Response, id: int, change: OrderChange) -> OrderView:
        """Change fields of an order.

        412 if it has changed since the caller read it.
        """
        with DB.transaction():
            order = Order.of(request.claim("sub"), id).lock_for_update().first_or_fail()
            request.check_match(etag_of(OrderView.model_validate(order)))
            order.update(change.model_dump(mode="json", exclude_unset=True))
            return with_etag(response, order.fresh())

    def destroy(self, request: Request, id: int) -> None:
        """Delete an order."""
        Order.of(request.claim("sub"), id).first_or_fail().delete()


def with_etag(response: Response, order: Order) -> OrderView:
    """Return the order as callers see it, under the entity tag of this version."""
    view = OrderView.model_validate(order)
    response.header("ETag", etag_of(view))
    return view
