"""Orders as CSV."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from pydantic import ValidationError

from app.schemas import Imported, NewOrder
from config.database import DB
from zuplo_origin.http import HttpException
from zuplo_origin.http.errors import ValidationFailed
from zuplo_origin.openapi import accepts, responds
from zuplo_origin.services import UniqueViolation

COLUMNS = list(NewOrder.model_fields)
BATCH = 500
MOST_FAULTS = 100
EXAMPLE = "reference,customer,quantity,price_cents,due\nA-1001,Ada Lovelace,3,1999,2026-12-01\n"


class FilesController(Controller):
    """Import and export of orders."""

    @responds(200, content_type="text/csv")
    def export(self, request: Request, response: Response) -> Any:
        """Export orders as CSV.

        All orders of the caller, the oldest first.
        """
        orders = DB.get_query_builder().table("orders").where("owner", request.claim("sub")).order_by("id")
        response.header("Content-Disposition", 'attachment; filename="orders.csv"')
        return response.stream(as_csv(orders.chunk(BATCH)), "text/csv; charset=utf-8")

    @accepts("text/csv", example=EXAMPLE)
    @responds(201, Imported)
    @responds(409, description="The caller has an order with one of the references")
    @responds(422)
    def store(self, request: Request) -> Any:
        """Import orders from CSV.

        All orders of the file are created, or none if one is invalid.
        """
        orders = [{**order, "owner": request.claim("sub"), "status": "open"} for order in read_csv(request.body())]
        try:
            with DB.transaction():
                for start in range(0, len(orders), BATCH):
                    DB.get_query_builder().table("orders").bulk_create(orders[start : start + BATCH])
        except UniqueViolation:
            raise HttpException(409, "an order with one of the references exists, or one occurs twice") from None
        return {"imported": len(orders)}


def as_csv(parts: Iterator[list[dict[str, Any]]]) -> Iterator[str]:
    """Yield the lines of a CSV file, a part at a time."""
    columns = ["id", *COLUMNS, "status"]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for part in parts:
        writer.writerows([row[column] for column in columns] for row in part)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def read_csv(body: bytes) -> list[dict[str, Any]]:
    """Return the orders of a CSV file. Raises `ValidationFailed` with its faults, by line."""
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        if sorted(reader.fieldnames or []) != sorted(COLUMNS):
            raise ValidationFailed({"line 1": f"expected the columns {','.join(COLUMNS)}"})
        orders: list[dict[str, Any]] = []
        faults: dict[str, str] = {}
        for row in reader:
            try:
                orders.append(NewOrder.model_validate_strings(row).model_dump(mode="json"))
            except (ValidationError, TypeError) as error:
                faults |= faults_of(error, reader.line_num)
            if len(faults) >= MOST_FAULTS:
                break
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValidationFailed({"": f"not a CSV file in UTF-8: {error}"}) from None
    if faults:
        raise ValidationFailed(faults)
    return orders


def faults_of(error: ValidationError | TypeError, line: int) -> dict[str, str]:
    if isinstance(error, TypeError):
        return {f"line {line}": "a line has as many fields as the first one"}
    return {f"line {line}: {'.'.join(map(str, each['loc']))}": each["msg"] for each in error.errors()}
