"""Orders as CSV."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
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
LONGEST_LINE = 4096
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
    @responds(201)
    @responds(409, description="The caller has an order with one of the references")
    @responds(422)
    def store(self, request: Request) -> Imported:
        """Import orders from CSV.

        All orders of the file are created, or none if one is invalid.
        """
        orders, imported = read_csv(lines_of(request.chunks())), 0
        added = {"owner": request.claim("sub"), "status": "open"}
        try:
            with DB.transaction():
                while part := [order | added for order in islice(orders, BATCH)]:
                    DB.get_query_builder().table("orders").bulk_create(part)
                    imported += len(part)
        except UniqueViolation:
            raise HttpException(409, "an order with one of the references exists, or one occurs twice") from None
        return Imported(imported=imported)


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


def lines_of(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of a body, of which a chunk at a time is in memory. A longer line than `LONGEST_LINE` is 422."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_LINE:
            raise ValidationFailed({"": f"a line is longer than {LONGEST_LINE} bytes"})
    if rest:
        yield rest


def read_csv(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the orders of a CSV file. Raises `ValidationFailed` at its end with the faults, by line."""
    columns = fields_of(next(lines, b""))
    if sorted(columns) != sorted(COLUMNS):
        raise ValidationFailed({"line 1": f"expected the columns {','.join(COLUMNS)}"})
    faults: dict[str, str] = {}
    for number, line in enumerate(lines, 2):
        try:
            order = NewOrder.model_validate_strings(dict(zip(columns, fields_of(line), strict=True)))
        except ValidationError as error:
            faults |= {f"line {number}: {each['loc'][0]}": each["msg"] for each in error.errors()}
        except ValueError:
            faults[f"line {number}"] = f"expected {len(COLUMNS)} fields of CSV in UTF-8"
        if not faults:
            yield order.model_dump(mode="json")
        elif len(faults) >= MOST_FAULTS:
            break
    if faults:
        raise ValidationFailed(faults)


def fields_of(line: bytes) -> list[str]:
    """Return the fields of a line; none if it is not CSV in UTF-8. A field of an order has no line breaks."""
    try:
        return next(csv.reader([line.decode("utf-8-sig")], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []
