"""Masonite's stock commands, run in a copy of the project."""

import re
import shutil

import pytest

from package_tests.support.processes import forked_python, python
from package_tests.support.project import batch, copy_of_the_project, craft, start_craft
from package_tests.support.servers import ROOT

DATABASE = """from masoniteorm.connections import ConnectionResolver

DATABASES = {"default": "sqlite", "sqlite": {"driver": "sqlite", "database": "orders.sqlite3", "prefix": ""}}
DB = ConnectionResolver().set_connection_details(DATABASES)
"""
GENERATED = {
    "command Import": "app/commands/ImportCommand.py",
    "controller Orders": "app/controllers/OrdersController.py",
    "controller order-lines": "app/controllers/OrderLinesController.py",
    "controller admin/Users": "app/controllers/admin/UsersController.py",
    "controller Items --api": "app/controllers/ItemsController.py",
    "controller Pages --resource": "app/controllers/PagesController.py",
    "event OrderPlaced": "app/events/OrderPlaced.py",
    "job SendInvoice": "app/jobs/SendInvoice.py",
    "listener NotifyWarehouse": "app/listeners/NotifyWarehouse.py",
    "mailable Welcome": "app/mailables/Welcome.py",
    "middleware Audit": "app/middlewares/AuditMiddleware.py",
    "model Order": "app/models/Order.py",
    "notification OrderShipped": "app/notifications/OrderShipped.py",
    "observer Order": "app/models/observers/OrderObserver.py",
    "policy Order": "app/policies/OrderPolicy.py",
    "policy Item --model": "app/policies/ItemPolicy.py",
    "provider PaymentProvider": "app/providers/PaymentProvider.py",
    "rule Sku": "app/validation/Sku.py",
    "rule:enclosure OrderRules": "app/validation/OrderRules.py",
    "seed Order": "databases/seeds/order_table_seeder.py",
    "task CleanUp": "app/tasks/CleanUp.py",
    "test Orders": "tests/test_orders.py",
}
"""The file that each command creates."""
MIGRATIONS = {
    "migration create_orders_table": "create_orders_table",
    "migration add_name_to_orders --table orders": "add_name_to_orders",
    "queue:table": "create_queue_jobs_table",
    "queue:failed": "create_failed_jobs_table",
    "notification:table": "create_notifications_table",
}
DATABASE_COMMANDS = [
    "migrate",
    "migrate:fresh",
    "migrate:refresh",
    "migrate:reset",
    "migrate:rollback",
    "migrate:status",
    "seed:run",
]


def succeed(project, *commands, **settings):
    """Run commands that succeed, and return the standard output of each."""
    results = batch(project, commands, **settings)
    assert [(status, error) for status, _, error in results] == [(0, "")] * len(commands), results
    return [output for _, output, _ in results]


def fail(project, *commands, **settings):
    """Run commands that fail, and return the only line of standard error of each."""
    results = batch(project, commands, **settings)
    for status, output, error in results:
        assert (status, output, error.count("\n")) == (1, "", 1), results
    return [error for _, _, error in results]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def generated(project):
    """The project after each generator has run once."""
    outputs = succeed(project, *GENERATED, *MIGRATIONS)
    assert outputs[: len(GENERATED)] == [f"created {file}\n" for file in GENERATED.values()]
    for output, name in zip(outputs[len(GENERATED) :], MIGRATIONS.values(), strict=True):
        assert re.fullmatch(rf"created databases/migrations/\d{{4}}_\d\d_\d\d_\d{{6}}_{name}\.py\n", output), output
    return project


@pytest.fixture
def with_database(generated, tmp_path):
    folder = shutil.copytree(generated, tmp_path / "project")
    (folder / "config/database.py").write_text(DATABASE)
    # it has the same timestamp as the migration that creates the table, and would run before it
    (migration,) = (folder / "databases/migrations").glob("*_add_name_to_orders.py")
    migration.unlink()
    return folder


def test_craft_runs_a_stock_command(project):
    created = start_craft(project, "controller", "Parcels")
    assert (created.returncode, created.stderr) == (0, "")
    assert created.stdout == "created app/controllers/ParcelsController.py\n"

    failed = craft(project, "migrate")
    assert failed.returncode == 1 and failed.stderr.startswith(
        "migrate: no database is configured; add config/database"
    )


def test_generated_files_can_be_imported(generated):
    files = [file for file in GENERATED.values() if not file.startswith("tests/")]
    migrations = [str(file.relative_to(generated)) for file in (generated / "databases/migrations").glob("2*.py")]
    assert len(migrations) == len(MIGRATIONS)
    modules = [file.removesuffix(".py").replace("/", ".") for file in files + migrations]
    lines = [
        "from zuplo_origin.testing import prepare_environment",
        "prepare_environment()",
        "import importlib, wsgi",
        *(f"importlib.import_module({module!r})" for module in modules),  # migrations start with a digit
    ]

    ended = forked_python(generated, "-c", "\n".join(lines))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("selection", [[], ["--select", "E,F,I"]])
def test_generated_files_pass_ruff(generated, selection):
    ended = python(generated, "-m", "ruff", "check", *selection, "app", "databases", "tests")

    assert ended.returncode == 0, ended.stdout


def test_generated_files_have_addresses_of_the_reserved_domain_alone(generated):
    files = [generated / file for file in GENERATED.values()]
    domains = {domain for file in files for domain in re.findall(r"@([\w-]+\.\w+)", file.read_text())}

    assert domains == {"example.com"}


def test_generated_test_passes(generated):
    ended = forked_python(generated, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "tests/test_orders.py")

    assert ended.returncode == 0 and "1 passed" in ended.stdout, ended.stdout + ended.stderr


def test_generated_api_controller_serves_the_routes_of_route_api(generated, tmp_path):
    project = shutil.copytree(generated, tmp_path / "project")
    routes = project / "routes/web.py"
    added = 'ROUTES = [\n    *Route.api("items", "ItemsController"),\n'
    routes.write_text(routes.read_text().replace("ROUTES = [\n", added))
    (project / "tests/test_items.py").write_text(ITEMS_TEST)

    ended = forked_python(project, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "tests/test_items.py")
    assert ended.returncode == 0 and "1 passed" in ended.stdout, ended.stdout + ended.stderr


ITEMS_TEST = """from zuplo_origin.testing import TestCase


class ItemsTest(TestCase):
    def test_items(self):
        self.get("/items").assertOk().assertContains("[]")
        self.post("/items", {"name": "a"}).assertCreated().assertJson({"name": "a"})
        self.get("/items/1").assertOk().assertJson({"id": "1"})
        self.put("/items/1", {"name": "a"}).assertOk().assertJson({"id": "1", "name": "a"})
        self.delete("/items/1").assertOk()
"""


def test_generator_does_not_overwrite_a_file_without_force(project):
    succeed(project, "controller Invoices")
    file = project / "app/controllers/InvoicesController.py"
    file.write_text("# edited\n")

    assert "app/controllers/InvoicesController.py exists already" in fail(project, "controller Invoices")[0]
    assert file.read_text() == "# edited\n"
    succeed(project, "controller Invoices --force")
    assert "class InvoicesController" in file.read_text()


def test_generator_rejects_an_invalid_name(project):
    names = ["'a b'", "../x", "1st", "none", "a/../b", "class/X", "é"]

    assert all("invalid name" in error for error in fail(project, *(f"model {name}" for name in names)))


def test_model_creates_its_migration_and_seed(project):
    (output,) = succeed(project, "model Parcel --migration --seeder")

    assert re.search(r"created databases/migrations/\d{4}_\d\d_\d\d_\d{6}_create_parcels_table.py", output)
    assert "created databases/seeds/parcel_table_seeder.py" in output and "created app/models/Parcel.py" in output


def test_generator_writes_into_the_project_from_another_folder(project, tmp_path):
    ended = python(tmp_path, str(project / "craft"), "event", "Elsewhere")

    assert ended.returncode == 0 and (project / "app/events/Elsewhere.py").is_file()
    assert list(tmp_path.iterdir()) == []


def test_key_is_printed_with_dont_store(project):
    assert re.fullmatch(r"APP_KEY=[\w=-]{44}\n", succeed(project, "key --dont-store")[0])


@pytest.mark.parametrize("text", ["", "APP_ENV=local\n# APP_KEY=\nPORT=1\n"])
def test_key_is_stored_once_in_the_env_file(project, text):
    file = project / ".env"
    file.write_text(text)
    succeed(project, "key", "key")
    stored = file.read_text()
    file.unlink()

    assert re.search(r"(?m)^APP_KEY=[\w=-]{44}$", stored) and stored.count("APP_KEY") == 1
    assert stored.count("\n") == max(1, text.count("\n"))


def test_key_fails_without_an_env_file(project):
    assert ".env-example" in fail(project, "key")[0]


@pytest.mark.parametrize("environment", ["local", "production"])
def test_commands_fail_without_their_configuration(project, environment):
    commands = [*DATABASE_COMMANDS, "queue:work", "queue:retry", "schedule:run"]
    errors = dict(zip(commands, fail(project, *commands, APP_ENV=environment), strict=True))

    assert all("add config/database.py with DATABASES and DB" in errors[command] for command in DATABASE_COMMANDS)
    assert "QueueProvider" in errors["queue:work"] and "QueueProvider" in errors["queue:retry"]
    assert "ScheduleProvider" in errors["schedule:run"]


def test_migrations_run_and_roll_back(with_database):
    names = ["migrate --show", "migrate", "migrate:status", "migrate:rollback", "migrate", "migrate:refresh"]
    shown, migrated, status, rolled_back, *_ = succeed(with_database, *names, "migrate:reset", "migrate:fresh")

    assert 'CREATE TABLE "orders"' in shown and "Migrated" in migrated and "Rolling back" in rolled_back
    assert all(name in status for name in MIGRATIONS.values() if name.startswith("create_"))


def test_migrate_requires_force_in_production_without_a_terminal(with_database):
    (status, _, error), forced = batch(with_database, ["migrate", "migrate --force"], APP_ENV="production")

    assert status == 1 and "--force" in error and error.count("\n") == 1
    assert forced[0] == 0 and "Migrated" in forced[1]


def test_seed_run_names_the_missing_seeder(with_database):
    errors = fail(with_database, "seed:run", "seed:run item")

    assert "databases/seeds/database_seeder.py with a class DatabaseSeeder" in errors[0]
    assert "databases/seeds/item_table_seeder.py with a class ItemTableSeeder" in errors[1]


def test_seed_option_of_migrate_fresh_runs_the_named_seeder(with_database):
    seeded, refreshed = succeed(with_database, "seed:run order", "migrate:fresh --seed order")

    assert "OrderTableSeeder seeded" in seeded and "OrderTableSeeder seeded" in refreshed


def test_tinker_runs_code_with_the_models(generated):
    ended = python(generated, "craft", "tinker", stdin="print('model', Order.__name__)\nexit()\n")

    assert ended.returncode == 0 and "model Order" in ended.stdout, ended.stdout + ended.stderr


def test_deployment_commands_do_not_require_the_development_tools(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    ignored = shutil.ignore_patterns("dev", "testing.py", "__pycache__")
    shutil.copytree(ROOT / "zuplo_origin", project / "zuplo_origin", ignore=ignored)

    listed = set(re.findall(r"(?m)^  ([a-z:]+) ", start_craft(project, "list", PYTHONPATH="").stdout))
    assert listed >= {*DATABASE_COMMANDS, "queue:work", "queue:retry", "schedule:run", "routes:list", "jwks:show"}
    assert not listed & {"controller", "model", "migration", "test", "serve", "tinker", "key"}


def test_server_does_not_load_the_commands(project):
    code = "import sys, wsgi\nassert not {'cleo', 'masoniteorm', 'zuplo_origin.commands'} & set(sys.modules)"
    ended = python(project, "-c", code, JWT_ISSUER="https://gateway.example", JWT_AUDIENCE="orders")

    assert ended.returncode == 0, ended.stderr


def test_routes_list_has_guard_scopes_claims_and_body_limit_of_each_route(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    with open(project / "routes/web.py", "a") as routes:
        routes.write(
            """
ROUTES += [
    Route.get("/one", HealthController.live).middleware("jwt:read:a,read:b", "claims:roles=admin|owner").name("one"),
    Route.post("/two", HealthController.live).middleware("public", "body:20MB"),
    Route.put("/three", HealthController.live).middleware("body:1000"),
]
"""
        )
    for settings in ({}, {"APP_ENV": "production", "MAX_BODY_BYTES": "65536"}):
        listed, few = succeed(project, "routes:list", "routes:list --methods post,PUT", **settings)

        rows = {cells[0]: cells[1:6] for cells in map(cells_of, listed.splitlines()) if cells}
        default = "64KB" if settings else "1MB"
        assert rows["/one"] == ["GET/HEAD", "jwt", "read:a read:b", "roles=admin|owner", default]
        assert rows["/two"] == ["POST", "public", "", "", "20MB"]
        assert rows["/three"] == ["PUT", "open", "", "", "1000"]
        assert rows["/protected"][1] == "jwt"
        assert "/two" in few and "/three" in few and "/one" not in few
    (error,) = fail(project, "routes:list --name [")
    assert "--name" in error


def cells_of(line):
    """Return the cells of a line of a table; its separators have a space on both sides."""
    return [cell.strip() for cell in re.split(r" \| ", line.strip()[1:-1] + " ")] if line.startswith("|") else []
