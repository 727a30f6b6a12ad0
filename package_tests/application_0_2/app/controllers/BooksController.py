"""Books: uses what an application of 0.2.0 may use."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from pydantic import BaseModel, Field

from app.models.Book import Book
from zuplo_origin.http import HttpException
from zuplo_origin.openapi import accepts, responds
from zuplo_origin.services import UniqueViolation


class NewBook(BaseModel):
    title: str = Field(min_length=1, max_length=100)
    stock: int = Field(ge=0, le=1000)


class BooksController(Controller):
    """Books in stock."""

    def index(self, request: Request) -> Any:
        """List the books, in pages."""
        return Book.order_by("title").paginate(2, int(request.query("page", "1")))

    @responds(201, NewBook)
    @responds(409, description="There is a book with this title")
    def store(self, book: NewBook) -> Any:
        """Add a book."""
        try:
            return Book.create(book.model_dump()).fresh()
        except UniqueViolation:
            raise HttpException(409, "there is a book with this title", {"X-Title": "taken"}) from None

    def show(self, id: int) -> Any:
        """Return a book."""
        return Book.find_or_fail(id)

    @accepts("text/csv")
    def load(self, request: Request) -> Any:
        """Add the books of a CSV file."""
        for line in request.body().decode().splitlines():
            title, stock = line.split(",")
            Book.create({"title": title, "stock": int(stock)})

    def export(self, response: Response) -> Any:
        """Return all books as CSV."""
        rows = Book.order_by("title").get()
        return response.stream((f"{row.title},{row.stock}\n" for row in rows), "text/csv")

    def owner(self, request: Request) -> Any:
        """Return the caller."""
        return {"sub": request.claim("sub"), "ip": request.ip(), "user": request.user()["sub"]}
