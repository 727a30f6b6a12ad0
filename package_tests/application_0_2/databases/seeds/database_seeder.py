"""Rows to try the API with: `python craft seed:run`."""

from masoniteorm.seeds import Seeder


class DatabaseSeeder(Seeder):
    def run(self):
        """Create rows with your models, as in `Order.create({…})`."""
