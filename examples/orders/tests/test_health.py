from masonite.routes import Route

from app.controllers.HealthController import HealthController
from zuplo_origin.testing import TestCase


class HealthTest(TestCase):
    def test_live_is_ok(self):
        self.get("/health/live").assertOk().assertJson({"status": "ok"})

    def test_ready_is_ok_once_the_keys_are_fetched(self):
        self.add_routes(Route.get("/guarded", HealthController.live).middleware("jwt"))
        self.acting_as().get("/guarded").assertOk()  # waits for the first fetch

        self.get("/health/ready").assertOk().assertJson({"status": "ok"})
