"""`craft protected:make`: the files that it creates work, and it overwrites none."""

import subprocess
import sys

import pytest

from package_tests.support.project import copy_of_the_project, craft
from package_tests.support.servers import clean_environment
from zuplo_origin.dev.generator import GuardedRoute, InvalidRoute, UnsupportedRoutesFile, add_route

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
    command = [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", *files]
    return subprocess.run(command, cwd=project, env=clean_environment(), capture_output=True, text=True, timeout=120)


def test_created_routes_pass_their_tests_and_are_described(project):
    created = make(project, "Orders", "--path", "/orders", "--scope", "read:orders")
    assert created.returncode == 0, created.stderr
    for name in (
        "app/controllers/OrdersController.py",
        "tests/test_orders.py",
        "routes/web.py",
        "OrdersController.show",
    ):
        assert name in created.stdout
    for arguments in (
        ("OrderItemsController", "--path", "/orders/@id:int/items/@item", "--scope", "read:orders,read:items"),
        ("status",),
    ):
        created = make(project, *arguments)
        assert created.returncode == 0, created.stderr
    files = ["app/controllers", "tests", "routes"]
    for command in (["check", "--select", "E,F,I"], ["format", "--check"]):
        ruff = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *files], cwd=project, capture_output=True, text=True
        )
        assert ruff.returncode == 0, ruff.stdout + ruff.stderr

    tests = ["tests/test_orders.py", "tests/test_order_items.py", "tests/test_status.py"]
    passed = run_tests(project, *tests)
    assert passed.returncode == 0 and "8 passed" in passed.stdout, passed.stdout + passed.stderr
    described = craft(project, "openapi:write", "-").stdout
    assert '"read:orders"' in described and "/orders/{id}/items/{item}" in described


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
        text = add_route(text, route.import_line, route.route_line)

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
        add_route(text, "from app.controllers.A import A", "Route.get()")


@pytest.mark.parametrize(
    ("name", "path", "scopes"),
    [
        ("Or ders", None, ""),
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
