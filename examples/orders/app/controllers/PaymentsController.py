"""Webhooks of the payment service."""

from typing import Any

from masonite.controllers import Controller

from app.models.Order import Order
from app.schemas import Payment
from zuplo_origin.http import HttpException
from zuplo_origin.openapi import responds


class PaymentsController(Controller):
    """Events of the payment service. It may send an event more than once."""

    @responds(204)
    @responds(401, description="The signature is missing or wrong")
    @responds(404)
    def store(self, payment: Payment) -> Any:
        """Mark an order as paid."""
        order = Order.find(payment.order)
        if order is None:
            raise HttpException(404)
        order.update({"status": "paid"})
        return None
