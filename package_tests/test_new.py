"""`python -m zuplo_origin new`: an application from the wheel, without this repository."""

import re
import resource
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

import zuplo_origin
from package_tests.support.issuer import Issuer
from package_tests.support.postgres import PostgresServer
from package_tests.support.servers import ROOT, Server, clean_environment, free_port
from package_tests.support.wheels import build_wheel, environment, install, run
from zuplo_origin.dev import doctor, new, template

REJECTED = {
    "a folder with a file": (lambda folder: (folder / "shop").mkdir() or (folder / "shop/.git").touch(), "shop", []),
    "a file": (lambda folder: (folder / "shop").touch(), "shop", []),
    "a broken link": (lambda folder: (folder / "shop").symlink_to("nothing"), "shop", []),
    "a folder in a folder that does not exist": (lambda folder: None, "a/shop", []),
    "a folder in a file": (lambda folder: (folder / "a").touch(), "a/shop", []),
    "a path that cannot be written": (lambda folder: None, "/proc/shop", []),
    "no path": (lambda folder: None, "", []),
    "a path that is too long": (lambda folder: None, "x" * 300, ["--name", "x"]),
    "a folder that is no name": (lambda folder: None, "1", []),
    "a name with a quote": (lambda folder: None, "shop", ["--name", 'My "Shop"']),
    "a name with a line break": (lambda folder: None, "shop", ["--name", "My\nShop"]),
    "a name beyond ASCII": (lambda folder: None, "shop", ["--name", "Bücher"]),
    "an empty name": (lambda folder: None, "shop", ["--name", ""]),
    "a long name": (lambda folder: None, "shop", ["--name", "x" * 33]),
    "another database": (lambda folder: None, "shop", ["--database", "oracle"]),
}


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# -- the template -----------------------------------------------------------------------------------------------------


def test_application_is_the_top_level_of_this_repository():
    made, own = new.files("Zuplo origin", "sqlite"), {*template.OWN, "constraints.txt", "wheels/.gitkeep"}

    assert set(made) - own == set(template.names(ROOT))
    changed = {name for name in set(made) - own if made[name] != (ROOT / name).read_text()}
    assert {name for name in changed if "docs/deploy.md" not in (ROOT / name).read_text()} == {
        name for name, _, _ in new.EDITS["always"]
    }


def test_files_of_the_template_have_nothing_that_was_not_committed(tmp_path):
    for name in template.names(ROOT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    expected = list(template.names(tmp_path))
    for name in ("app/.env", "config/.secrets/key.py", "app/__pycache__/x.pyc", "databases/main.sqlite3", ".env"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert list(template.names(tmp_path)) == expected


@pytest.mark.parametrize("database", new.DATABASES)
def test_files_differ_by_database(database):
    made = new.files("My Shop", database)
    has_database = database != "none"

    assert ("config/database.py" in made) == has_database
    assert any(name.startswith("databases/") for name in made) == has_database
    assert ("DatabaseProvider" in made["config/providers.py"]) == has_database
    assert ("release: python craft migrate --force" in made["Procfile"]) == (database == "postgres")
    assert ("psycopg2-binary\n" in made["requirements.txt"]) == (database == "postgres")
    assert ("DATABASE_URL" in "".join(made.values())) == has_database
    assert ("sqlite:///{FILE}" in made.get("config/database.py", "")) == (database == "sqlite")
    assert "my-shop" in made["README.md"] and "{{" not in made["README.md"] and "<!-- if" not in made["README.md"]


def test_name_is_in_every_file_that_the_products_was_in():
    made = new.files("My Shop", "sqlite")
    found = {name for name, text in made.items() if re.search("zuplo-origin(?! (?:was|is|has|0))", text)}

    assert 'or "My Shop"' in made["config/application.py"]
    assert "# APP_NAME=My Shop\n" in made[".env-example"]
    assert "deploy/my-shop.service" in made
    assert not {name for name in found if not name.endswith(("README.md", "requirements.txt"))} - {
        name for name, text in made.items() if "docs/deploy.md of zuplo-origin" in text
    }


def test_changed_template_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(template, "root", lambda: tmp_path)
    for name in [*template.names(ROOT), template.LOCKED]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")

    with pytest.raises(new.NotCreated, match="Dockerfile"):
        new.create(str(tmp_path / "shop"), None, "sqlite")
    assert not (tmp_path / "shop").exists()


# -- the application --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Install the wheel into an environment of its own, and return its Python."""
    folder = tmp_path_factory.mktemp("new")
    python = environment(folder / "environment")
    install(python, folder, "--no-deps", str(build_wheel(folder)))
    return python


@pytest.fixture(scope="module")
def shop(python, tmp_path_factory):
    """Create an application, and remove the installed wheel: from now on, it comes from the application's files."""
    folder = tmp_path_factory.mktemp("applications")
    ended = run(python, folder, "-m", "zuplo_origin", "new", "shop", "--name", "My Shop")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    assert run(python, folder, "-m", "pip", "uninstall", "-y", "zuplo-origin").returncode == 0
    assert run(python, folder, "-c", "import zuplo_origin").returncode == 1
    install(python, folder / "shop", "-r", "requirements-dev.txt")
    return folder / "shop"


def test_application_from_the_wheel_has_the_files_of_this_repository(shop):
    wheel = f"wheels/zuplo_origin-{zuplo_origin.__version__}-py3-none-any.whl"
    made = new.files("My Shop", "sqlite")
    found = {str(path.relative_to(shop)) for path in shop.rglob("*") if path.is_file() and path.suffix != ".pyc"}

    assert found == {*made, wheel}
    assert {name for name, text in made.items() if (shop / name).read_text() != text} == set()
    assert shop.stat().st_mode & 0o777 == (shop / "app").stat().st_mode & 0o777
    assert (shop / "craft").stat().st_mode & 0o111 and not (shop / "wsgi.py").stat().st_mode & 0o111
    assert not {"zuplo_origin", "package_tests", "benchmarks"} & {path.name for path in shop.iterdir()}


def blocks(readme):
    """Return the shell blocks of a README that are run, in order."""
    pattern = re.compile(r"(<!-- not run: .*? -->\n)?^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [found[2] for found in pattern.finditer(readme) if not found[1]]


def test_commands_of_the_readme_work(shop, python, tmp_path):
    commands = blocks((shop / "README.md").read_text())
    port, printed = free_port(), []
    settings = {"PYTHONPATH": "", "PATH": f"{python.parent}:/usr/bin:/bin", "PIP_NO_INDEX": "1"}
    with Server([str(python), "craft", "serve", "--port", str(port)], port, tmp_path / "log", settings, shop):
        for command in commands:
            ended = subprocess.run(
                ["/bin/bash", "-euo", "pipefail", "-c", command.replace("127.0.0.1:8000", f"127.0.0.1:{port}")],
                cwd=shop,
                env=clean_environment(**settings),
                capture_output=True,
                text=True,
                timeout=100,
            )
            assert ended.returncode == 0, command + ended.stdout + ended.stderr
            printed.append(ended.stdout)
    curl = next(text for command, text in zip(commands, printed, strict=True) if command.startswith("curl"))
    statuses = re.findall(r"HTTP/1.1 (\d+)", curl)

    assert len(commands) >= 6
    assert statuses == ["401", "200"]
    assert (shop / "app/controllers/InvoicesController.py").exists() and list(shop.glob("databases/migrations/*.py"))
    assert (shop.parent / "my-shop-gateway/config/policies.json").exists()
    assert printed[-1] == f"nothing to change for zuplo-origin {zuplo_origin.__version__}\n"


def test_tests_of_the_application_take_less_than_ten_seconds_of_processor_time(shop, python):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = run(python, shop, "-m", "pytest")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert ended.returncode == 0 and " passed" in ended.stdout, ended.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


@pytest.mark.parametrize("database", ["postgres", "none"])
def test_tests_of_an_application_with_another_database_pass(database, python, shop, tmp_path):
    for arguments in (["-m", "zuplo_origin", "new", "other", "--database", database], ["-m", "pytest", "other"]):
        ended = run(python, tmp_path, *arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
    assert doctor.examine(str(tmp_path / "other")) == 0


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request):
    """Yield the URL of a database for tests, or an empty text for the SQLite file of their own."""
    if request.param == "sqlite":
        yield ""
        return
    with PostgresServer() as server:
        yield server.url


def test_migrations_run_before_the_tests(python, shop, tmp_path, database_url):
    database = "postgres" if database_url else "sqlite"
    run(python, tmp_path, "-m", "zuplo_origin", "new", "books", "--database", database)
    application = tmp_path / "books"
    assert run(python, application, "craft", "migration", "create_books_table", "--create", "books").returncode == 0
    (application / "tests/test_books.py").write_text(
        "from config.database import DB\n\n\n"
        "def test_table_exists():\n    assert DB.get_query_builder().table('books').count() == 0\n"
    )
    ended = run(python, application, "-m", "pytest", TEST_DATABASE_URL=database_url)

    assert ended.returncode == 0 and " passed" in ended.stdout, ended.stdout
    assert not list(application.glob("*.sqlite3*"))
    if database_url:  # the migrations of another run are there already
        assert run(python, application, "-m", "pytest", TEST_DATABASE_URL=database_url).returncode == 0


# -- image and manifests ----------------------------------------------------------------------------------------------


def test_server_runs_from_the_files_of_the_image(shop, python, tmp_path):
    """Do what the Dockerfile does: install, remove the development tools, copy, and start."""
    dockerfile = (shop / "Dockerfile").read_text()
    patterns = [line for line in (shop / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    image, venv = tmp_path / "origin", tmp_path / "venv"

    def ignored(folder, names):
        relative = {name: str((Path(folder) / name).relative_to(shop)) for name in names}
        anywhere = [pattern.removeprefix("**/") for pattern in patterns if pattern.startswith("**/")]
        return [
            name
            for name, path in relative.items()
            if any(fnmatch(path, pattern) for pattern in patterns) or any(fnmatch(name, each) for each in anywhere)
        ]

    shutil.copytree(shop, image, ignore=ignored)
    for name in re.findall(r"^COPY ([^-\n]*) \S+$", dockerfile, re.MULTILINE):
        assert all((image / each).exists() for each in name.split()), name
    installing = re.search(r"^RUN pip --python /venv/bin/python install (.*?) (-r \S+) \\$", dockerfile, re.MULTILINE)
    assert installing[2] == "-r /install/requirements.txt" and "--only-binary :all:" in installing[1]
    production = environment(venv)
    install(production, image, "-r", "requirements.txt")
    removing = re.search(r"^    && (cd /venv/\S+ \\\n    && rm -r [\w. ]+) \\$", dockerfile, re.MULTILINE)[1]
    subprocess.run(["/bin/sh", "-ec", removing.replace("/venv", str(venv), 1)], check=True)
    after = re.findall(r"^RUN (rm -r wheels)$", dockerfile, re.MULTILINE)
    subprocess.run(["/bin/sh", "-ec", after[0]], cwd=image, check=True)
    assert run(production, image, "craft", "openapi:write", "-").returncode == 0
    assert "no development commands" in run(production, image, "-c", MAIN).stderr
    files = listing(image)

    issuer, port = Issuer(), free_port()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "PYTHONPATH": ""}
    settings |= {"PYTHONDONTWRITEBYTECODE": "1"}
    with Server([str(production), "-m", "zuplo_origin.server"], port, tmp_path / "log", settings, image) as server:
        assert server.get("/protected", {"Authorization": f"Bearer {issuer.token()}"})[0] == 200
        assert server.get("/invoices")[0] in (401, 404)
        server.stop()
    issuer.close()

    assert {name for name in listing(image) if "__pycache__" not in name} == {
        name for name in files if "__pycache__" not in name
    }
    top = {name.split("/")[0] for name in files} - {"__pycache__"}
    assert not top & {"tests", "wheels", "deploy", "README.md", ".env", ".env-example", "Dockerfile"}
    assert {"app", "config", "routes", "databases", "Kernel.py", "wsgi.py", "craft"} <= top
    packages = next(venv.glob("lib/python*/site-packages/zuplo_origin"))
    assert not [name for name in ("dev", "fixtures.py", "testing.py") if (packages / name).exists()]


MAIN = "import runpy, sys, zuplo_origin; sys.exit(runpy.run_path(sys.argv[1])['main']())".replace(
    "sys.argv[1]", repr(str(ROOT / "zuplo_origin/__main__.py"))
)
"""A program that runs `python -m zuplo_origin` of the repository where there are no development tools."""


def test_manifests_are_valid_and_have_the_applications_name(shop):
    manifests = list(yaml.safe_load_all((shop / "deploy/kubernetes.yaml").read_text()))
    compose = yaml.safe_load((shop / "deploy/compose.yaml").read_text())

    for each in manifests:
        assert kubernetes_validate.validate(each, "1.34", strict=True)
        assert each["metadata"]["name"] == "my-shop"
    assert compose["name"] == "my-shop" and compose["services"]["origin"]["image"] == "my-shop"
    assert "zuplo_origin.server" in (shop / "deploy/my-shop.service").read_text()


# -- what is rejected -------------------------------------------------------------------------------------------------


def start(folder, *arguments, **options):
    command = [sys.executable, "-m", "zuplo_origin", *arguments]
    return subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, **options)


@pytest.mark.parametrize("case", REJECTED)
def test_new_writes_nothing_for(case, tmp_path):
    prepare, folder, options = REJECTED[case]
    prepare(tmp_path)
    before = listing(tmp_path)
    ended = start(tmp_path, "new", folder, *options)

    assert ended.returncode != 0 and ended.stdout == ""
    assert "Traceback" not in ended.stderr and ended.stderr.splitlines()[-1].count(": ") >= 1
    assert len(ended.stderr.splitlines()) == 1 or case == "another database"  # argparse prints the usage too
    assert listing(tmp_path) == before


@pytest.mark.parametrize("exists", [False, True])
def test_new_leaves_nothing_behind_if_a_file_cannot_be_written(exists, tmp_path):
    if exists:
        (tmp_path / "shop").mkdir()
    before = listing(tmp_path)
    limit = resource.RLIMIT_FSIZE, (2000, 2000)  # bytes: as on a full disk, some files fit and others do not
    ended = start(tmp_path, "new", "shop", preexec_fn=lambda: resource.setrlimit(*limit))

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("new: shop: ") and len(ended.stderr.splitlines()) == 1
    assert listing(tmp_path) == before


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError(28, "No space left on device")])
def test_new_leaves_nothing_behind_if_it_is_interrupted_at_the_end(exists, error, tmp_path, monkeypatch):
    target, rename, calls = tmp_path / "shop", Path.rename, []
    if exists:
        target.mkdir()

    def interrupted(path, to):
        calls.append(to)
        if len(calls) == (5 if exists else 1):
            raise error
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit, new.NotCreated)):
        new.create(str(target), None, "sqlite")

    assert len(calls) == (5 if exists else 1)
    assert listing(tmp_path) == (["shop"] if exists else [])


def test_new_writes_into_the_current_folder_if_it_is_empty(tmp_path):
    (tmp_path / "books").mkdir(mode=0o700)
    ended = start(tmp_path / "books", "new", ".")

    assert ended.returncode == 0 and "cd" not in ended.stdout.split()
    assert set(listing(tmp_path / "books")) >= {"craft", "app/providers/JWTProvider.py", "wheels/.gitkeep"}
    assert 'or "books"' in (tmp_path / "books/config/application.py").read_text()
    assert (tmp_path / "books").stat().st_mode & 0o777 == 0o700


def test_new_without_the_file_of_the_wheel_says_where_to_put_it(tmp_path):
    ended = start(tmp_path, "new", "shop")

    assert ended.returncode == 0
    assert ended.stdout.endswith("was copied too.\n") == (ROOT / ".git").exists()  # a clone, whose owner may edit it
    assert "wheels/ is empty" in ended.stdout and listing(tmp_path / "shop/wheels") == [".gitkeep"]


@pytest.mark.parametrize("database", new.DATABASES)
def test_linter_finds_nothing_in_an_application(database, tmp_path):
    assert start(tmp_path, "new", "shop", "--database", database).returncode == 0
    for command in (["check"], ["format", "--check"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache"],
            cwd=tmp_path / "shop",
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["new", "shop"], ["doctor", "shop"]])
def test_commands_import_no_masonite(arguments, tmp_path):
    if arguments[0] == "doctor":
        new.create(str(tmp_path / "shop"), None, "sqlite")
    program = (
        "import atexit, runpy, sys; sys.argv = ['zuplo_origin', *sys.argv[1:]];"
        "atexit.register(lambda: print('masonite:', 'masonite' in sys.modules));"
        "runpy.run_module('zuplo_origin', run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("masonite: False\n")
