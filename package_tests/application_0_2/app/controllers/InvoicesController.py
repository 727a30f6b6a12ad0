from itertools import count
from typing import Any

from masonite.controllers import Controller
from pydantic import BaseModel, Field

from zuplo_origin.http import HttpException
from zuplo_origin.openapi import responds

# In the memory of one worker, until it ends: replace both with your database.
ROWS: dict[tuple[Any, ...], dict[str, Any]] = {}
NUMBERS = count(1)


class InvoiceInput(BaseModel):
    name: str = Field(min_length=1, max_length=100)


class InvoicesController(Controller):
    def index(self) -> dict[str, Any]:
        return {"data": [row for key, row in list(ROWS.items()) if key[:-1] == ()]}

    def show(self, id: int) -> dict[str, Any]:
        return self._find(id)

    @responds(201)
    def store(self, body: InvoiceInput) -> dict[str, Any]:
        number = next(NUMBERS)
        row = ROWS[(number,)] = {"id": number, **body.model_dump()}
        return row

    def update(self, id: int, body: InvoiceInput) -> dict[str, Any]:
        self._find(id)
        row = ROWS[(id,)] = {"id": id, **body.model_dump()}
        return row

    def destroy(self, id: int) -> None:
        if ROWS.pop((id,), None) is None:
            raise HttpException(404)

    def _find(self, *key: Any) -> dict[str, Any]:
        row = ROWS.get(key)
        if row is None:
            raise HttpException(404)
        return row
