"""Faults that stop the start: one line that names the user's file, on the server, in `craft serve` and in commands."""

import subprocess
import sys

import pytest

from package_tests.support.controllers import wait_until
from package_tests.support.project import copy_of_the_project, craft, serve, start_craft
from package_tests.support.servers import clean_environment, free_port

ROUTE = """
from masonite.controllers import Controller

class MadeController(Controller):
    def show(self): pass
    async def later(self): pass

ROUTES.append({})
"""
PROVIDER = """
from zuplo_origin.http.kernel import Provider

class OwnProvider(Provider):
    def register(self):
        {}

PROVIDERS.append(OwnProvider)
"""
FAULTS = {  # the file, what is added to it, and how the line goes on after "Cannot start: "
    "provider that is a string": (
        "config/providers.py",
        "PROVIDERS.append('app.providers.OwnProvider')",
        "config/providers.py: PROVIDERS[3]: invalid value 'app.providers.OwnProvider'; expected a class",
    ),
    "provider that is a module": (
        "config/providers.py",
        "from app import providers\nPROVIDERS.append(providers)",
        "config/providers.py: PROVIDERS[3]: invalid value <module 'app.providers'",
    ),
    "provider that is an object": (
        "config/providers.py",
        "PROVIDERS.append(object())",
        "config/providers.py: PROVIDERS[3]: invalid value <object object",
    ),
    "provider above the one it needs": (
        "config/providers.py",
        PROVIDER.format("self.application.make('ledger')"),
        "config/providers.py:{raises}: OwnProvider needs 'ledger', which no provider above it in config/",
    ),
    "provider that raises": (
        "config/providers.py",
        PROVIDER.format("raise KeyError('x')"),
        "config/providers.py:{raises}: OwnProvider: KeyError: 'x'",
    ),
    "provider that reports a problem": (
        "config/providers.py",
        PROVIDER.format("pass\n\n    def problems_at_start(self):\n        yield 'PAYMENTS_SECRET: not set'"),
        "PAYMENTS_SECRET: not set",
    ),
    "provider that cannot be imported": (
        "config/providers.py",
        "from app.providers.Missing import MissingProvider",
        "config/providers.py:{first}: ModuleNotFoundError: No module named 'app.providers.Missing'",
    ),
    "middleware that is not registered": (
        "routes/web.py",
        ROUTE.format("Route.get('/made', MadeController.show).middleware('nope')"),
        "routes/web.py:{last}: no middleware is registered in the Kernel under the key 'nope'",
    ),
    "action that does not exist": (
        "routes/web.py",
        ROUTE.format("Route.get('/made', MadeController.nope)"),
        "routes/web.py:{last}: AttributeError: type object 'MadeController' has no attribute 'nope'",
    ),
    "action of a string that does not exist": (
        "routes/web.py",
        ROUTE.format("Route.get('/made', 'HealthController@nope')"),
        "routes/web.py:{last}: /made: there is no controller action 'HealthController@nope'",
    ),
    "controller of a string that does not exist": (
        "routes/web.py",
        ROUTE.format("Route.get('/made', 'NopeController@show')"),
        "routes/web.py:{last}: there is no controller 'NopeController' in ['app.controllers']",
    ),
    "string that is no action": (
        "routes/web.py",
        ROUTE.format("Route.get('/made', 'HealthController@show@x')"),
        "routes/web.py:{last}: /made: 'HealthController@show@x' is not Controller@action",
    ),
    "action that is async": (
        "routes/web.py",
        ROUTE.format("Route.get('/made', MadeController.later)"),
        "routes/web.py:{last}: /made: later is async",
    ),
    "routes that raise": (
        "routes/web.py",
        "raise RuntimeError('two\\nlines')",
        "routes/web.py:{last}: RuntimeError: two lines",
    ),
    "exit of the process": (
        "routes/web.py",
        "import sys\nsys.exit()",
        "routes/web.py:{last}: SystemExit",
    ),
    "exit with a text": (
        "config/jwt.py",
        "raise SystemExit('not here')",
        "config/jwt.py:{last}: SystemExit: not here",
    ),
    "syntax error in a controller": (
        "app/controllers/HealthController.py",
        "def broken(:",
        "app/controllers/HealthController.py:{last}: SyntaxError: invalid syntax",
    ),
    "syntax error in the configuration": (
        "config/jwt.py",
        "def broken(:",
        "config/jwt.py:{last}: SyntaxError: invalid syntax",
    ),
    "middleware that is not a class": (
        "Kernel.py",
        "Kernel.http_middleware = ['cors']",
        "Kernel.py: middleware: invalid value 'cors'; expected a class with the methods before and after",
    ),
}
SETTINGS = {"JWT_ISSUER": "https://gateway.example.com/__zuplo/issuer", "JWT_AUDIENCE": "*"}


def broken(folder, file, text, expected):
    """Return a copy of the project with a fault, and the line that is expected."""
    project = copy_of_the_project(folder)
    path = project / file
    before = path.read_text()
    path.write_text(f"{before}\n{text.strip()}\n")
    last, first = len(path.read_text().splitlines()), len(before.splitlines()) + 2
    lines = {"{last}": last, "{first}": first, "{raises}": last - 2}
    for name, line in lines.items():
        expected = expected.replace(name, str(line))
    return project, f"Cannot start: {expected}"


def serve_in_production(project, **settings):
    """Run the production server, which must end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "zuplo_origin.server"],
        cwd=project,
        env=clean_environment(HOST="127.0.0.1", PORT=str(free_port()), WEB_CONCURRENCY="3", **SETTINGS | settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_one_line_and_a_status_in_commands(name, tmp_path):
    project, expected = broken(tmp_path / "project", *FAULTS[name])
    ended = craft(project, "routes:list", **SETTINGS)

    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith(expected) and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["middleware that is not registered", "syntax error in the configuration"])
def test_fault_is_one_line_on_the_production_server(name, tmp_path):
    project, expected = broken(tmp_path / "project", *FAULTS[name])
    ended = serve_in_production(project)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(expected) and ended.stderr.count("\n") == 1


def test_fault_in_development_is_followed_by_the_steps_in_the_users_code(tmp_path):
    project, expected = broken(tmp_path / "project", *FAULTS["provider that raises"])
    ended = craft(project, "serve", "--port", str(free_port()))
    first, *steps = ended.stderr.splitlines()

    assert (ended.returncode, ended.stdout, first) == (3, "", expected)
    assert [step for step in steps if step.startswith("  File")] == [
        f'  File "{project}/wsgi.py", line 14, in <module>',
        f'  File "{project}/config/providers.py", line 11, in register',
    ]
    assert steps[-1] == "    raise KeyError('x')"


def test_fault_in_a_library_has_its_place(tmp_path):
    project, _ = broken(tmp_path / "project", "config/jwt.py", "import json\njson.loads('{')", "")
    ended = craft(project, "routes:list", **SETTINGS)

    assert ended.stderr.startswith("Cannot start: config/jwt.py:") and "JSONDecodeError: Expecting" in ended.stderr
    assert ", raised in json/decoder.py:" in ended.stderr and ended.stderr.count("\n") == 1


def test_guarded_route_without_the_guard_stops_the_start(tmp_path):
    project, expected = broken(
        tmp_path / "project",
        "config/providers.py",
        "from zuplo_origin.http.kernel import Provider\n\nclass JWKSProvider(PROVIDERS[1]):\n    def register(self):\n"
        "        super().register()\n        del self.application.objects['guard']\n\nPROVIDERS[1] = JWKSProvider",
        "config/providers.py: no provider binds 'guard', which the route /protected with .middleware('jwt') needs; add "
        "JWTProvider",
    )
    ended = craft(project, "serve", "--port", str(free_port()), **SETTINGS)

    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", f"{expected}\n")


def test_provider_above_the_settings_stops_the_start(tmp_path):
    project, expected = broken(
        tmp_path / "project",
        "config/providers.py",
        "class JWKSProvider(PROVIDERS[1]): pass\n\nPROVIDERS = [JWKSProvider, PROVIDERS[0], PROVIDERS[2]]",
        "config/providers.py: JWKSProvider is above FoundationProvider, which it needs; move it below",
    )
    ended = craft(project, "routes:list", **SETTINGS)

    assert (ended.returncode, ended.stderr) == (3, f"{expected}\n")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"A=1\nB=\xfc\n", ".env:2: not UTF-8"),
        (b"\xff\xfeA\0=\0", ".env:1: not UTF-8"),
        (b"A=x\0y\n", ".env: embedded"),
    ],
)
@pytest.mark.parametrize("command", ["routes:list", "serve"])
def test_env_file_that_cannot_be_read_is_one_line(command, content, fault, tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    (project / ".env").write_bytes(content)
    ended = start_craft(project, command)

    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith(f"Cannot start: {fault}") and ended.stderr.count("\n") == 1


def test_development_server_waits_for_a_change_after_each_fault(tmp_path):
    """The status of a start that is stopped is that with which a process asks the reloader to start it again."""
    project = copy_of_the_project(tmp_path / "project")
    with serve(project, tmp_path / "log") as server:

        def serves():
            try:
                return server.get("/health/live")[0] == 200
            except OSError:
                return False

        def show(line):
            wait_until(lambda: line in server.output())

        for number, (file, fault, line) in enumerate(
            [
                ("config/providers.py", "PROVIDERS.append('x')", "PROVIDERS[3]: invalid value 'x'"),
                ("config/providers.py", "PROVIDERS.pop(0)", "no provider binds"),
                ("app/controllers/ProtectedController.py", "def", "SyntaxError"),
                ("routes/web.py", ROUTE.format("Route.get('/a', MadeController.later)"), "async"),
                (
                    "routes/web.py",
                    ROUTE.replace("show(self)", "show(self, n: int)").format("Route.get('/a', MadeController.show)"),
                    "nothing fills the parameter 'n'",
                ),
            ]
        ):
            right = (project / file).read_text()
            (project / file).write_text(f"{right}\n{fault}\n")
            show(line)
            (project / file).write_text(f"{right}\n# {number}\n")
            wait_until(serves)
        assert server.output().count("PROVIDERS[3]: invalid value 'x'") == 1
