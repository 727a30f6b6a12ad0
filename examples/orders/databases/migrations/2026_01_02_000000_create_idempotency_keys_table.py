"""CreateIdempotencyKeysTable Migration."""

from masoniteorm.migrations import Migration


class CreateIdempotencyKeysTable(Migration):
    def up(self):
        """Run the migrations."""
        with self.schema.create("idempotency_keys") as table:
            table.string("id", 64).primary()
            table.string("fingerprint", 64)
            table.string("claim", 32)
            table.big_integer("expires_at").index()
            table.long_text("response").nullable()

    def down(self):
        """Revert the migrations."""
        self.schema.drop("idempotency_keys")
