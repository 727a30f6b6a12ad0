"""A project for the tests of the development console: 50 routes in groups, bodies of many kinds, a database."""

from pathlib import Path

from .console_models import MODELS
from .database import database_project, sqlite_details

CONTROLLER = '''
"""Routes of many kinds."""

import time
from enum import Enum
from typing import Literal

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from pydantic import BaseModel, Field

from config.database import DB
from zuplo_origin.openapi import accepts


class Order(BaseModel):
    title: str = Field(min_length=3)
    count: int = Field(ge=1)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Search(BaseModel):
    color: Color | None = None
    size: Literal[1, 2] = 1
    paid: bool | None = None
    text: str | None = Field(None, description="Words to look for")


class Photo(BaseModel):
    title: str = Field(examples=["A cat"])
    public: bool = True
    photo: bytes | None = None


class BenchController(Controller):
    """The bench."""

    def create(self, order: Order) -> dict:
        """Create an order."""
        return {"title": order.title, "count": order.count}

    def size(self, size: int, response: Response):
        if size == 0:
            return response.stream(self.slow())
        return {"items": ["<img src=x onerror=alert(1)>" * 4] * size}

    def slow(self):
        yield "first "
        time.sleep(1)
        yield "second"

    def endless(self):
        while True:
            yield "tick "
            time.sleep(0.05)

    def numbers(self, response: Response):
        """Return numbers that JavaScript would round."""
        text = '{"id": 9007199254740993, "price": 1.10, "exact": [1, -0.0, 1e400, 0.1234567890123456789]}'
        return response.stream([text], "application/json")

    def search(self, search: Search) -> dict:
        """Search for orders."""
        return search.model_dump(mode="json")

    @accepts("text/csv", example="8,1.10\\n9,2.20\\n")
    def load(self, request: Request) -> dict:
        """Import orders."""
        return self.seen(request)

    @accepts("application/json", "application/x-www-form-urlencoded", "multipart/form-data", "image/*")
    def echo(self, request: Request, name: str) -> dict:
        """Return what came."""
        return self.seen(request)

    @accepts("multipart/form-data")
    def photo(self, request: Request, photo: Photo) -> dict:
        """Upload a photo."""
        return self.seen(request)

    def free(self, request: Request) -> dict:
        """Accept any body."""
        return self.seen(request)

    def seen(self, request: Request) -> dict:
        kind = request.environ.get("CONTENT_TYPE", "").partition(";")[0]
        if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
            body = request.all()
            body = {
                name: [[each.filename, each.content_type, each.content.hex()] for each in value]
                if isinstance(value, list) and hasattr(value[0], "filename") else value
                for name, value in body.items()
            }
        else:
            body = request.body().hex()
        query, headers = request.environ["QUERY_STRING"], ("HTTP_X_QUOTE", "HTTP_AUTHORIZATION", "HTTP_ACCEPT")
        sent = {name: request.environ.get(name) for name in headers}
        return {"method": request.environ["REQUEST_METHOD"], "path": request.param("name", ""), "query": query,
                "type": kind, "body": body, **sent}

    def query(self) -> dict:
        """Read the database."""
        rows = DB.get_query_builder().statement("SELECT 'a secret' AS name, 12 AS number", ())
        return {"rows": len(rows)}

'''
ROUTES = """
from app.controllers.BenchController import BenchController

ROUTES += [
    Route.post("/orders", BenchController.create).middleware("public"),
    Route.get("/orders", BenchController.search).middleware("jwt:read:orders"),
    Route.get("/size/@size:int", BenchController.size).middleware("public"),
    Route.get("/endless", BenchController.endless).middleware("public"),
    Route.get("/numbers", BenchController.numbers).middleware("public"),
    Route.post("/load", BenchController.load).middleware("public"),
    Route.post("/echo/@name", BenchController.echo).middleware("public"),
    Route.post("/photos", BenchController.photo).middleware("public"),
    Route.post("/free", BenchController.free),
    Route.get("/query", BenchController.query).middleware("public"),
]
"""
GROUPS = ("Invoices", "Customers", "Products", "Payments", "Shipments", "Refunds")
GROUP = """

class {name}Controller(Controller):
    def index(self) -> list[dict]:
        \"\"\"List them.\"\"\"
        return []

    def show(self, number: int) -> dict:
        \"\"\"Return one.\"\"\"
        return {{"number": number}}
"""
GROUP_ROUTES = """
from app.controllers.{name}Controller import {name}Controller

ROUTES += [
    Route.get("/{path}", {name}Controller.index).middleware("jwt:read:{path}"),
    Route.get("/{path}/@number:int", {name}Controller.show).middleware("jwt:read:{path},list:{path}"),
]
"""
MODELS_FILE = Path(__file__).with_name("console_models.py")


def console_project(folder: Path) -> Path:
    """Copy the project of the tests into `folder`, with 50 routes, and return it."""
    project = database_project(folder, sqlite_details(folder))
    (project / "app" / "models.py").write_bytes(MODELS_FILE.read_bytes())
    controllers = {"Bench": CONTROLLER, "Models": _models()}
    controllers |= {name: "from masonite.controllers import Controller\n" + GROUP.format(name=name) for name in GROUPS}
    for name, text in controllers.items():
        (project / "app" / "controllers" / f"{name}Controller.py").write_text(text)
    added = [*(GROUP_ROUTES.format(name=name, path=name.lower()) for name in GROUPS), ROUTES, _routes_of_models()]
    routes = project / "routes" / "web.py"
    before, _, _ = routes.read_text().partition("\nfrom app.controllers.AccountsController")
    routes.write_text(before + "".join(added))
    return project


def _models() -> str:
    actions = "".join(f"    def {name}(self, body: models.{name}) -> dict:\n        return {{}}\n\n" for name in MODELS)
    head = (
        "from app import models\nfrom masonite.controllers import Controller\n\n\nclass ModelsController(Controller):\n"
    )
    return head + actions


def _routes_of_models() -> str:
    routes = "".join(
        f'    Route.post("/models/{name}", ModelsController.{name}).middleware("public"),\n' for name in MODELS
    )
    return f"\nfrom app.controllers.ModelsController import ModelsController\n\nROUTES += [\n{routes}]\n"
