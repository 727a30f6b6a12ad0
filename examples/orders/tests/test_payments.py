import hashlib
import hmac
import json

from masonite.tests import DatabaseTransactions

from app.models.Order import Order
from tests.conftest import SECRET
from zuplo_origin.testing import TestCase


class PaymentsTest(TestCase, DatabaseTransactions):
    connection = "main"

    def send(self, body, signature=None):
        signed = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        self.with_headers({"X-Signature": f"sha256={signed}" if signature is None else signature})
        return self.request("POST", "/webhooks/payments", body=body)

    def order(self):
        fields = {"owner": "ada", "reference": "A-1", "customer": "Ada", "quantity": 1, "price_cents": 1}
        return Order.create(fields | {"due": "2026-12-01", "status": "open"})

    def test_order_is_paid_however_often_the_event_is_sent(self):
        id = self.order().id
        body = json.dumps({"event": "paid", "order": id}, indent=3).encode()

        self.send(body).assertNoContent()
        self.send(body).assertNoContent()
        assert Order.find(id).status == "paid"

    def test_event_without_the_right_signature_is_401(self):
        body = json.dumps({"event": "paid", "order": self.order().id}).encode()

        for signature in ("", "sha256=", "sha256=" + "0" * 64, "\xe9" * 71):
            self.send(body, signature).assertUnauthorized()
        self.send(b"not json", "").assertUnauthorized()

    def test_signed_event_that_is_invalid_is_rejected(self):
        self.send(b'{"event": "paid", "order": 999999}').assertIsStatus(404)
        self.send(b'{"event": "paid", "order": 1e30}').assertIsStatus(422)
        self.send(b'{"event": "lost", "order": 1}').assertIsStatus(422)
        self.send(b"not json").assertIsStatus(400)
