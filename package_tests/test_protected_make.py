"""`craft protected:make`: what it makes works as it was made, and nothing is lost."""

import subprocess
import sys

import pytest

from package_tests.support.project import copy_of_the_project, craft
from package_tests.support.servers import clean_environment
from zuplo_origin.dev.generator import BadBlueprint, Blueprint, UnknownForm, with_route

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


def test_what_is_made_works_as_it_was_made(project):
    made = make(project, "Orders", "--path", "/orders", "--scope", "read:orders")
    assert made.returncode == 0, made.stderr
    for told in (
        "app/controllers/OrdersController.py",
        "tests/test_orders.py",
        "routes/web.py",
        "OrdersController.show",
    ):
        assert told in made.stdout
    for arguments in (
        ("OrderItemsController", "--path", "/orders/@id:int/items/@item", "--scope", "read:orders,read:items"),
        ("status",),
    ):
        made = make(project, *arguments)
        assert made.returncode == 0, made.stderr

    tests = ["tests/test_orders.py", "tests/test_order_items.py", "tests/test_status.py"]
    passed = run_tests(project, *tests)
    assert passed.returncode == 0 and "8 passed" in passed.stdout, passed.stdout + passed.stderr
    described = craft(project, "openapi:write", "-").stdout
    assert '"read:orders"' in described and "/orders/{id}/items/{item}" in described


def test_the_generated_test_fails_where_the_guard_is_gone(project):
    make(project, "Secrets", "--scope", "read:secrets")
    routes = project / "routes" / "web.py"
    routes.write_text(routes.read_text().replace('.middleware("jwt:read:secrets")', ""))

    failed = run_tests(project, "tests/test_secrets.py")
    assert failed.returncode == 1 and "3 failed" in failed.stdout


def test_nothing_is_overwritten(project):
    make(project, "Invoices")
    for file, arguments in (
        ("app/controllers/InvoicesController.py", ("Invoices", "--path", "/other")),
        ("routes/web.py", ("Others", "--path", "/invoices")),
    ):
        before = (project / file).read_text()
        refused = make(project, *arguments)
        assert refused.returncode == 1 and "already" in refused.stderr and "Traceback" not in refused.stderr
        assert (project / file).read_text() == before
    assert not (project / "app/controllers/OthersController.py").exists()


def test_a_file_that_it_cannot_add_to_is_left_alone_and_the_lines_are_told(project):
    routes = project / "routes" / "web.py"
    before = routes.read_text()
    routes.write_text(before.replace("ROUTES = [", "ROUTES: list = ["))
    try:
        refused = make(project, "Unmade")
    finally:
        routes.write_text(before)

    assert refused.returncode == 1 and not (project / "app/controllers/UnmadeController.py").exists()
    assert 'Route.get("/unmade", UnmadeController.show).middleware("jwt"),' in refused.stderr


def test_a_route_that_stands_before_it_is_named(project):
    assert make(project, "Any", "--path", "/any/@id").returncode == 0

    refused = make(project, "Special", "--path", "/any/special")
    assert refused.returncode == 1 and "/any/@id" in refused.stderr


def test_ten_routes_later_the_file_is_still_a_list():
    text = ROUTES
    for name in ("Zebras", "Apples", "Mangos"):
        blueprint = Blueprint.of(name, None, "read:" + name.lower())
        text = with_route(text, blueprint.imported, blueprint.route)

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
def test_a_file_of_another_form_is_left_alone(text):
    with pytest.raises(UnknownForm):
        with_route(text, "from app.controllers.A import A", "Route.get()")


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
def test_what_cannot_be_meant_is_not_made(name, path, scopes):
    with pytest.raises(BadBlueprint):
        Blueprint.of(name, path, scopes)
