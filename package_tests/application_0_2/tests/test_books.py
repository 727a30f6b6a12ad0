from masonite.tests import DatabaseTransactions

from app.models.Book import Book
from zuplo_origin.testing import TestCase


class BooksTest(TestCase, DatabaseTransactions):
    connection = "main"

    def setUp(self):
        super().setUp()
        self.acting_as(scope="read:books write:books", role="reader")
        self.ink = Book.create({"title": "ink", "stock": 1}).id

    def test_books_are_listed_in_pages(self):
        Book.create({"title": "pen", "stock": 1})
        Book.create({"title": "wax", "stock": 1})

        response = self.get("/books?page=2").assertOk()

        response.assertJsonPath("data.0.title", "wax").assertJsonPath("meta.total", 3)

    def test_book_is_created_once(self):
        self.post("/books", {"title": "pen", "stock": 2}).assertCreated().assertJsonPath("title", "pen")
        self.post("/books", {"title": "pen", "stock": 2}).assertIsStatus(409).assertHasHeader("X-Title", "taken")

    def test_book_is_validated(self):
        response = self.post("/books", {"title": "", "stock": -1}).assertIsStatus(422)

        response.assertJsonPath("error", "Validation failed").assertJsonPath("details.0.field", "title")
        self.post("/books", {"title": "x" * 2000, "stock": 1}).assertIsStatus(413)

    def test_book_needs_the_claim(self):
        self.get(f"/books/{self.ink}").assertOk()
        self.get("/books/999").assertIsStatus(404)
        self.acting_as(role="guest").get(f"/books/{self.ink}").assertForbidden().assertJson({"error": "Forbidden"})

    def test_books_need_the_scope(self):
        response = self.acting_as().get("/books").assertForbidden()

        response.assertJsonPath("error", "Insufficient scope")
        assert 'scope="read:books"' in response.response.header("WWW-Authenticate")

    def test_books_are_loaded_and_exported(self):
        self.request("PUT", "/books.csv", body="pen,3\nwax,4\n", content_type="text/csv").assertIsStatus(204)
        assert self.get("/books.csv").assertOk().response.content == b"ink,1\npen,3\nwax,4\n"

    def test_caller_is_the_tokens(self):
        self.acting_as(sub="user-1").get("/me").assertJson({"sub": "user-1", "ip": "127.0.0.1", "user": "user-1"})
