"""`craft protected:make`: the files that it creates work, and it overwrites none."""

import json
import subprocess
import sys

import pytest

from package_tests.support.processes import forked_python
from package_tests.support.project import copy_of_the_project, craft, start_craft
from zuplo_origin.dev.commands.protected_make import write
from zuplo_origin.dev.generator import GuardedRoute, InvalidRoute, UnsupportedRoutesFile, add_routes

ROUTES = """from masonite.routes import Route

from app.controllers.HealthController import HealthController
from app.controllers.ProtectedController import ProtectedController

ROUTES = [
    Route.get("/protected", ProtectedController.show).middleware("jwt"),
]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


def make(project, *arguments):
    return craft(project, "protected:make", *arguments)


def run_tests(project, *files):
    return forked_python(project, "-m", "pytest", "-n0", "-p", "no:cacheprovider", *files)


LONG = ("Long" * 12, "--path", "/" + "long-" * 16 + "path", "--scope", "read:" + "x" * 60, "--resource")


def test_created_files_pass_their_tests_and_ruff_and_are_described(project):
    before = set(project.glob("tests/test_*.py"))
    arguments = ("Orders", "--path", "/orders", "--scope", "read:orders", "--resource")
    created = start_craft(project, "protected:make", *arguments)
    assert created.returncode == 0, created.stderr
    for name in ("app/controllers/OrdersController.py", "tests/test_orders.py", "routes/web.py"):
        assert name in created.stdout
    for arguments in (
        ("OrderItemsController", "--path", "/orders/@id:int/items/@item/parts", "--scope", "read:items", "--resource"),
        ("order-lines", "--path", "/orders/@order/lines", "--resource"),
        ("back-office/order lines", "--scope", "a,b"),
        ("status", "--path", "/status/@kind"),
        ("order_notes", "--method", "POST", "--path", "/orders/@order:int/notes", "--scope", "write:orders"),
        ("Replacements", "--method", "put"),
        ("Changes", "--method", "patch", "--scope", "write:orders"),
        ("removals", "--method", "DELETE", "--path", "/removals/@id", "--scope", "write:orders"),
        LONG,
    ):
        created = make(project, *arguments)
        assert created.returncode == 0, created.stderr
    files = ["app/controllers", "tests", "routes"]
    for command in (["check", "--select", "E,F,I"], ["format", "--check"]):
        ruff = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *files], cwd=project, capture_output=True, text=True
        )
        assert ruff.returncode == 0, ruff.stdout + ruff.stderr

    tests = [str(file.relative_to(project)) for file in set(project.glob("tests/test_*.py")) - before]
    passed = run_tests(project, *tests)
    assert passed.returncode == 0 and "45 passed" in passed.stdout, passed.stdout + passed.stderr
    described = json.loads(craft(project, "openapi:write", "-").stdout)["paths"]
    assert described["/orders/{id}"]["delete"]["security"] == [{"gateway": ["write:orders"]}]
    assert "/orders/{id}/items/{item}/parts/{order_item_id}" in described
    assert set(described["/orders/{order}/notes"]) == {"post"}


@pytest.mark.parametrize(
    ("scopes", "reading", "writing"),
    [
        ("", (), ()),
        ("read:orders", ("read:orders",), ("write:orders",)),
        ("orders:read", ("orders:read",), ("orders:write",)),
        ("Orders.Read", ("Orders.Read",), ("Orders.Write",)),
        ("read:orders,write:orders", ("read:orders",), ("write:orders",)),
        ("orders,spreadsheets", ("orders", "spreadsheets"), ("orders", "spreadsheets")),
        ("write:orders", ("write:orders",), ("write:orders",)),
    ],
)
def test_scope_for_reading_becomes_one_for_writing_in_a_resource(scopes, reading, writing):
    route = GuardedRoute.parse("Orders", None, scopes, resource=True)

    assert (route.reading, route.writing) == (reading, writing)


@pytest.mark.parametrize(
    ("name", "controller", "path"),
    [
        ("order-lines", "app/controllers/OrderLinesController.py", "/order-lines"),
        ("order_lines", "app/controllers/OrderLinesController.py", "/order-lines"),
        ("order lines", "app/controllers/OrderLinesController.py", "/order-lines"),
        ("OrderLinesController", "app/controllers/OrderLinesController.py", "/order-lines"),
        ("Admin/Orders", "app/controllers/Admin/OrdersController.py", "/admin/orders"),
        ("back-office/order_lines", "app/controllers/back_office/OrderLinesController.py", "/back-office/order-lines"),
        ("HTTPStatus", "app/controllers/HTTPStatusController.py", "/http-status"),
    ],
)
def test_names_are_those_of_masonites_generators(name, controller, path):
    route = GuardedRoute.parse(name, None, "")

    assert (route.controller_file, route.path) == (controller, path)


def test_controllers_of_one_name_in_two_folders_are_both_imported(project):
    for name in ("Customers", "Admin/Customers"):
        assert make(project, name).returncode == 0

    routes = (project / "routes/web.py").read_text()
    assert "import CustomersController as AdminCustomersController" in routes
    assert make(project, "AdminCustomers", "--path", "/other").returncode == 1


def test_nothing_is_left_if_a_file_cannot_be_written(tmp_path):
    for folder in ("app/controllers", "tests", "routes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "app/controllers/__init__.py").touch()
    (tmp_path / "app/__init__.py").touch()
    (tmp_path / "routes/web.py").write_text(ROUTES)
    (tmp_path / "tests/test_x.py").write_text("mine")
    before = {file: file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
    folders = {folder for folder in tmp_path.rglob("*") if folder.is_dir()}

    with pytest.raises(FileExistsError):
        write(tmp_path, {"app/controllers/Deep/Folder/X.py": "x", "tests/test_x.py": "x"}, "x")

    assert {file: file.read_text() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert {folder for folder in tmp_path.rglob("*") if folder.is_dir()} == folders


def test_routes_file_keeps_its_line_ends_and_what_follows_the_list():
    text = ROUTES + "\nfrom app.controllers.ZooController import ZooController\n\nROUTES += []\n"
    made = add_routes(text.replace("\n", "\r\n"), "from app.controllers.A import A", ["    Route.x(A),"], "A")

    assert made.count("\r\n") == made.count("\n")
    assert made.index("import A\r") < made.index("ROUTES = [") < made.index("Route.x(A)") < made.index("ZooController")


def test_created_test_fails_if_the_route_is_not_guarded(project):
    make(project, "Secrets", "--scope", "read:secrets")
    routes = project / "routes" / "web.py"
    routes.write_text(routes.read_text().replace('.middleware("jwt:read:secrets")', ""))

    failed = run_tests(project, "tests/test_secrets.py")
    assert failed.returncode == 1 and "3 failed" in failed.stdout


def test_existing_file_or_route_is_not_overwritten(project):
    make(project, "Invoices")
    for file, arguments in (
        ("app/controllers/InvoicesController.py", ("Invoices", "--path", "/other")),
        ("routes/web.py", ("Others", "--path", "/invoices")),
    ):
        before = (project / file).read_text()
        ended = make(project, *arguments)
        assert ended.returncode == 1 and "exists already" in ended.stderr and "Traceback" not in ended.stderr
        assert (project / file).read_text() == before
    assert not (project / "app/controllers/OthersController.py").exists()


def test_unsupported_routes_file_is_not_changed_and_the_lines_are_printed(project):
    routes = project / "routes" / "web.py"
    before = routes.read_text()
    routes.write_text(before.replace("ROUTES = [", "ROUTES: list = ["))
    try:
        ended = make(project, "Parcels")
    finally:
        routes.write_text(before)

    assert ended.returncode == 1 and not (project / "app/controllers/ParcelsController.py").exists()
    assert 'Route.get("/parcels", ParcelsController.show).middleware("jwt"),' in ended.stderr


def test_path_that_an_existing_route_matches_is_rejected(project):
    assert make(project, "Any", "--path", "/any/@id").returncode == 0

    ended = make(project, "Special", "--path", "/any/special")
    assert ended.returncode == 1 and "/any/@id" in ended.stderr


def test_routes_file_keeps_its_imports_sorted_after_several_routes():
    text = ROUTES
    for name in ("Zebras", "Apples", "Mangos"):
        route = GuardedRoute.parse(name, None, "read:" + name.lower())
        text = add_routes(text, route.import_line, route.route_lines, route.imported)

    assert (
        text
        == """from masonite.routes import Route

from app.controllers.ApplesController import ApplesController
from app.controllers.HealthController import HealthController
from app.controllers.MangosController import MangosController
from app.controllers.ProtectedController import ProtectedController
from app.controllers.ZebrasController import ZebrasController

ROUTES = [
    Route.get("/protected", ProtectedController.show).middleware("jwt"),
    Route.get("/zebras", ZebrasController.show).middleware("jwt:read:zebras"),
    Route.get("/apples", ApplesController.show).middleware("jwt:read:apples"),
    Route.get("/mangos", MangosController.show).middleware("jwt:read:mangos"),
]
"""
    )


@pytest.mark.parametrize("text", ["", "ROUTES = [\n]\n", ROUTES.replace("ROUTES = [", "ROUTES = list(["), ROUTES[:-2]])
def test_routes_file_of_another_form_is_rejected(text):
    with pytest.raises(UnsupportedRoutesFile):
        add_routes(text, "from app.controllers.A import A", ["Route.get()"])


@pytest.mark.parametrize(
    ("name", "path", "scopes"),
    [
        ("Or/ders/", None, ""),
        ("Controller", None, ""),
        ("-", None, ""),
        ("/Orders", None, ""),
        ("class/Orders", None, ""),
        ("Größe", None, ""),
        ("O" * 51, None, ""),
        ("Orders", "/" + "a" * 100, ""),
        ("Orders", "/@body", ""),
        ("", None, ""),
        ("../x", None, ""),
        ("1st", None, ""),
        ("Orders", "orders", ""),
        ("Orders", '/o"rders', ""),
        ("Orders", "/a@b", ""),
        ("Orders", "/@class", ""),
        ("Orders", "/@a/@a", ""),
        ("Orders", "/@id:nothing", ""),
        ("Orders", "/?a/b", ""),
        ("Orders", "/a(b", ""),
        ("Orders", "/a.(.*)", ""),
        ("Orders", "/orders/", ""),
        ("Orders", "/a//b", ""),
        ("Orders", "/a/../b", ""),
        ("Orders", "/", ""),
        ("Orders", "/console/state", ""),
        ("Orders", None, 'a"b'),
        ("Orders", None, "a b"),
    ],
)
def test_invalid_name_path_or_scope_is_rejected(name, path, scopes):
    with pytest.raises(InvalidRoute):
        GuardedRoute.parse(name, path, scopes)


@pytest.mark.parametrize(
    ("path", "method", "resource"),
    [(None, "HEAD", False), (None, "x", False), (None, "POST", True), ("/a/?b", None, True), ("/@b:any", None, True)],
)
def test_invalid_method_or_resource_is_rejected(path, method, resource):
    with pytest.raises(InvalidRoute):
        GuardedRoute.parse("Orders", path, "", method, resource)
