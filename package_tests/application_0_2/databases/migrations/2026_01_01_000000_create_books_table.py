from masoniteorm.migrations import Migration


class CreateBooksTable(Migration):
    def up(self):
        with self.schema.create("books") as table:
            table.increments("id")
            table.string("title", 100).unique()
            table.integer("stock")
            table.timestamps()

    def down(self):
        self.schema.drop("books")
