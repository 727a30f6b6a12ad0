"""The product's tests do not depend on the user's files: they pass in a repository whose application has grown."""

import ast
import shutil
import subprocess
import sys

import pytest

from package_tests.support.processes import python
from package_tests.support.project import batch
from package_tests.support.servers import ROOT, clean_environment
from zuplo_origin.dev import template

USERS = {"app", "routes", "config", "Kernel", "wsgi", "tests", "databases"}
NAMES = [f"Thing{letter}" for letter in "ABCDEFGHIJ"]
MIDDLEWARE = """
from masonite.middleware import Middleware


class StampMiddleware(Middleware):
    def before(self, request, response):
        return request

    def after(self, request, response):
        response.header("X-Stamp", "1")
        return request
"""
PROVIDER = """
from masoniteorm.providers import ORMProvider  # noqa: F401  # config/providers.py registers it

from zuplo_origin.http.kernel import Provider


class ClockProvider(Provider):
    def register(self):
        self.application.bind("clock", "now")
"""
BROKEN_TEST = """
def test_that_fails():
    assert False
"""
BROKEN_CONTROLLER = """
raise RuntimeError("this controller cannot be imported")
"""
PRODUCTS = {
    "CHANGELOG.md": "of the product",
    "CONTRIBUTING.md": "of the product",
    "MANIFEST.in": "builds the wheel",
    "Makefile": "checks and locks of the product",
    "README.md": "of the product; an application has its own",
    "SECURITY.md": "of the product",
    ".pre-commit-config.yaml": "checks of the product",
    "mkdocs.yml": "builds the product's documentation",
    "pyproject.toml": "builds the wheel; an application has its own",
    "requirements-dev.in": "dependencies of the product's tests",
    "requirements-dev.txt": "an application has its versions in constraints.txt",
    "requirements-fuzz.in": "dependencies of the product's fuzzer",
    "requirements-fuzz.txt": "dependencies of the product's fuzzer",
    "requirements-otel.in": "an application adds them itself, if it uses traces",
    "requirements-otel.txt": "an application adds them itself, if it uses traces",
    "requirements.in": "dependencies of the wheel",
    "requirements.txt": "dependencies of the wheel; an application has its own",
    "setup.py": "builds the wheel",
}
"""Files at the top of this repository that an application does not have as they are, to the reason."""
PRODUCTS_FOLDERS = {".ci", ".github", "benchmarks", "docs", "examples", "package_tests", "zuplo_origin"}
REPRESENTATIVE = [
    "package_tests/test_protected.py",
    "package_tests/test_http_routing.py",
    "package_tests/test_openapi.py",
    "package_tests/test_protected_make.py",
    "package_tests/test_images.py",
]


def imported(path):
    """Return the top-level names that a module imports, without relative imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def test_package_tests_import_nothing_of_the_users():
    folder = ROOT / "package_tests"
    names = ("application_0_2", "project", "project_masonite", "project_services")
    projects = {folder / name for name in names}
    modules = [path for path in folder.rglob("*.py") if not projects & set(path.parents)]

    assert len(modules) > 30
    assert {path.name: found for path in modules if (found := USERS & set(imported(path)))} == {}


def tracked(*command):
    """Return the lines that a command of git prints. Skip the test if this is not a repository."""
    git = shutil.which("git")
    listed = git and subprocess.run([git, *command], cwd=ROOT, capture_output=True, text=True)
    if not listed or listed.returncode:
        pytest.skip("not a git repository: the files of the project are not known")
    return listed.stdout.splitlines()


def test_each_file_of_this_repository_is_an_applications_or_the_products():
    names = {name for name in tracked("ls-files") if name.split("/")[0] not in PRODUCTS_FOLDERS}

    assert names - set(template.names(ROOT)) == set(PRODUCTS)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Return a copy of this repository in which a user has added to every folder of theirs."""
    files = tracked("ls-files", "-co", "--exclude-standard")
    copy = tmp_path_factory.mktemp("repository")
    for name in files:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    commands = [f"protected:make {name} --scope read:things" for name in NAMES]
    made = batch(copy, commands, run=python, PYTHONPATH="")
    assert [(status, error) for status, _, error in made] == [(0, "")] * len(NAMES), made
    (copy / "app/middlewares/StampMiddleware.py").write_text(MIDDLEWARE)
    insert(copy / "Kernel.py", "from app.middlewares.", "from app.middlewares.StampMiddleware import StampMiddleware")
    replace(copy / "Kernel.py", "http_middleware: ClassVar = []", "http_middleware: ClassVar = [StampMiddleware]")
    (copy / "app/providers/ClockProvider.py").write_text(PROVIDER)
    insert(
        copy / "config/providers.py",
        "from app.providers.",
        "from app.providers.ClockProvider import ClockProvider, ORMProvider",
    )
    replace(copy / "config/providers.py", "PROVIDERS = [", "PROVIDERS = [\n    ClockProvider,\n    ORMProvider,")
    return copy


@pytest.fixture
def broken_repository(repository):
    """Yield the copy with a controller that cannot be imported, and a test that fails."""
    routes = (repository / "routes/web.py").read_text()
    (repository / "app/controllers/BrokenController.py").write_text(BROKEN_CONTROLLER)
    (repository / "tests/test_broken.py").write_text(BROKEN_TEST)
    insert(repository / "routes/web.py", "from app.controllers.", "from app.controllers.BrokenController import Broken")
    yield repository
    (repository / "routes/web.py").write_text(routes)


def insert(file, prefix, line):
    """Insert `line` before the first line of `file` that begins with `prefix`."""
    text = file.read_text()
    at = text.index(f"\n{prefix}") + 1
    file.write_text(f"{text[:at]}{line}\n{text[at:]}")


def replace(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def run_tests(repository, *files):
    command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", *files]
    return subprocess.run(
        command, cwd=repository, env=clean_environment(PYTHONPATH=""), capture_output=True, text=True, timeout=280
    )


@pytest.mark.timeout(300)
def test_generated_tests_pass_in_a_grown_application(repository):
    files = sorted(str(path.relative_to(repository)) for path in repository.glob("tests/test_thing_*.py"))
    ended = run_tests(repository, *files)

    assert len(files) == len(NAMES)
    assert ended.returncode == 0 and f"{3 * len(NAMES)} passed" in ended.stdout, ended.stdout


@pytest.mark.timeout(300)
def test_package_tests_pass_beside_an_application_that_cannot_be_imported(broken_repository):
    ended = run_tests(broken_repository, "tests/test_broken.py", *REPRESENTATIVE)

    assert "ERROR tests/test_broken.py::test_that_fails" in ended.stdout, ended.stdout
    assert "1 error" in ended.stdout.splitlines()[-1] and "failed" not in ended.stdout.splitlines()[-1], ended.stdout
