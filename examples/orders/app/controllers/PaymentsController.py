"""Webhooks of the payment service."""

from masonite.controllers import Controller

from app.models.Order import Order
from app.schemas import Payment
from zuplo_origin.openapi import responds


class PaymentsController(Controller):
    """Events of the payment service. It may send an event more than once."""

    @responds(401, description="The signature is missing or wrong")
    def store(self, payment: Payment) -> None:
        """Mark an order as paid."""
        Order.find_or_fail(payment.order).update({"status": "paid"})
