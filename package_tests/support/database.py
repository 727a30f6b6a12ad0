"""Databases for tests: `DETAILS` is the entry of one in `DATABASES`, and `database_project` a project that uses it."""

from pathlib import Path
from typing import Any

from .project import copy_of_the_project

ACCOUNTS = 10
BALANCE = 1_000


def sqlite_details(folder: Path, **more: Any) -> dict[str, Any]:
    return {"driver": "sqlite", "database": str(folder / "test.sqlite3"), "prefix": ""} | more


def postgres_details(port: int, **more: Any) -> dict[str, Any]:
    usual = {"driver": "postgres", "host": "127.0.0.1", "port": port, "user": "origin", "database": "postgres"}
    return usual | {"password": "", "prefix": ""} | more


def mysql_details(port: int, **more: Any) -> dict[str, Any]:
    usual = {"driver": "mysql", "host": "127.0.0.1", "port": port, "user": "root", "database": "origin"}
    return usual | {"password": "", "prefix": ""} | more


def details_of(kind: str, request: Any, folder: Path) -> dict[str, Any]:
    """Return the details of a database for a test: of a file in `folder`, or of the fixture `postgres` or `mysql`."""
    if kind == "sqlite":
        return sqlite_details(folder)
    made = postgres_details if kind == "postgres" else mysql_details
    return made(request.getfixturevalue(kind).port)


CONTROLLER = '''
from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response

from config.database import DB
from zuplo_origin.http import HttpException


def table():
    return DB.get_query_builder().table("accounts")


class AccountsController(Controller):
    """Accounts, and transfers between them in transactions."""

    def show(self, account: int):
        found = table().where("id", account).first()
        return {"id": found["id"], "owner": found["owner"], "balance": found["balance"]}

    def transfer(self, request: Request):
        giver, receiver, amount = (request.input(name) for name in ("from", "to", "amount"))
        with DB.transaction():
            rows = {id: table().where("id", id).lock_for_update().first() for id in sorted((giver, receiver))}
            table().where("id", giver).update({"balance": rows[giver]["balance"] - amount})
            if request.input("fail", "") == "raise":
                raise RuntimeError("in the middle")
            if request.input("fail", "") == "conflict":
                raise HttpException(409)
            table().where("id", receiver).update({"balance": rows[receiver]["balance"] + amount})
        return {"from": giver, "to": receiver}

    def leave(self):
        DB.begin_transaction()
        table().where("id", 1).update({"balance": -1})
        return {"ok": True}

    def rows(self, response: Response):
        def rows():
            for part in table().order_by("id").chunk(3):
                for row in part:
                    yield f"{row['id']},{row['owner']}\\n"

        return response.stream(rows(), "text/csv")
'''
ROUTES = """
from app.controllers.AccountsController import AccountsController

ROUTES += [
    Route.get("/accounts", AccountsController.rows).middleware("public"),
    Route.get("/accounts/@account:int", AccountsController.show).middleware("public"),
    Route.post("/transfers", AccountsController.transfer).middleware("public"),
    Route.post("/leave", AccountsController.leave).middleware("public"),
]
"""


SAFE = """
from zuplo_origin.services import DatabaseProvider

PROVIDERS = [*PROVIDERS, DatabaseProvider]
"""
STOCK = """
from zuplo_origin.http.kernel import Provider


class StockProvider(Provider):
    def register(self):
        self.application.bind("database", self.application.make("config").get("database.db"))


PROVIDERS = [*PROVIDERS, StockProvider]
"""


def database_project(folder: Path, details: dict[str, Any], providers: str = SAFE) -> Path:
    """Copy the project of the tests into `folder`, with a database and a controller of accounts, and return it.

    With `STOCK` as `providers`, it uses the ORM as it is.
    """
    project = copy_of_the_project(folder)
    (project / "config" / "database.py").write_text(
        "from masoniteorm.connections import ConnectionResolver\n\n"
        f'DATABASES = {{"default": "main", "main": {details!r}}}\n\n'
        "DB = ConnectionResolver().set_connection_details(DATABASES)\n"
    )
    with open(project / "config" / "providers.py", "a") as file:
        file.write(providers)
    (project / "app" / "controllers" / "AccountsController.py").write_text(CONTROLLER)
    with open(project / "routes" / "web.py", "a") as routes:
        routes.write(ROUTES)
    return project


SCHEMA = "CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner VARCHAR(80) UNIQUE, balance INTEGER NOT NULL)"


def create_accounts(resolver: Any) -> None:
    """Create the table, in place of an older one, with `ACCOUNTS` accounts."""
    builder = resolver.get_query_builder
    builder().statement("DROP TABLE IF EXISTS accounts")
    builder().statement(SCHEMA)
    rows = [{"id": number, "owner": f"owner-{number}", "balance": BALANCE} for number in range(1, ACCOUNTS + 1)]
    builder().table("accounts").bulk_create(rows)
