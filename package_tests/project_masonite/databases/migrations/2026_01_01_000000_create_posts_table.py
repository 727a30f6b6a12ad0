"""CreatePostsTable Migration."""

from masoniteorm.migrations import Migration


class CreatePostsTable(Migration):
    def up(self):
        with self.schema.create("posts") as table:
            table.increments("id")
            table.string("title")
            table.integer("author_id").unsigned()
            table.foreign("author_id").references("id").on("users")
            table.string("body")
            table.timestamp("published_at").nullable()
            table.timestamps()

    def down(self):
        self.schema.drop("posts")
