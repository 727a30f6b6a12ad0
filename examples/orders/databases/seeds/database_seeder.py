"""Orders to try the API with: `python craft seed:run`."""

from masoniteorm.seeds import Seeder

from app.models.Order import Order


class DatabaseSeeder(Seeder):
    def run(self):
        """Create 50 orders of the caller `developer`."""
        for number in range(50):
            Order.create(
                {
                    "owner": "developer",
                    "reference": f"order-{number}",
                    "customer": "Ada Lovelace",
                    "quantity": number + 1,
                    "price_cents": 1999,
                    "due": f"2026-12-{number % 28 + 1:02}",
                    "status": "open",
                }
            )
