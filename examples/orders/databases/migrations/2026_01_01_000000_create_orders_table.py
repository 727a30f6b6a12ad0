"""CreateOrdersTable Migration."""

from masoniteorm.migrations import Migration


class CreateOrdersTable(Migration):
    def up(self):
        """Run the migrations."""
        with self.schema.create("orders") as table:
            table.increments("id")
            table.string("owner", 255)
            table.string("reference", 40)
            table.string("customer", 80)
            table.integer("quantity")
            table.big_integer("price_cents")
            table.date("due")
            table.string("status", 20)
            table.timestamps()
            table.unique(["owner", "reference"])

    def down(self):
        """Revert the migrations."""
        self.schema.drop("orders")
