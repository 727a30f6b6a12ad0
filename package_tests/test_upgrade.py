"""The promise of `docs/upgrade.md`: an application of the version before works with this one.

`application_0_2` is an application as `new` of 0.2.0 wrote it, the first version that has `new`, with controllers,
models and tests of a user. `public_0_2.json` has what 0.2.0 promises. Neither changes with the product: a release
replaces both by its own.
"""

import importlib
import json
import re
import shutil
import subprocess
import sys
import warnings

import pytest

import zuplo_origin
from package_tests.support.issuer import Issuer
from package_tests.support.project import copy_of_the_project, craft
from package_tests.support.servers import ROOT, Server, free_port
from package_tests.support.wheels import build_wheel, environment, install, run
from zuplo_origin import settings
from zuplo_origin.jwt.reasons import Reason

BEFORE = ROOT / "package_tests/application_0_2"
PUBLIC = json.loads((ROOT / "package_tests/public_0_2.json").read_text())
PIN = re.search(r"^zuplo-origin==(.*)$", (BEFORE / "requirements.txt").read_text(), re.MULTILINE)[1]


def next_minor(version):
    major, minor, _ = version.split(".")
    return f"{major}.{int(minor) + 1}.0"


NEW = next_minor(zuplo_origin.__version__)
"""The version of the wheel that the application is upgraded to: this repository, as the next minor version."""


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    return shutil.copytree(BEFORE, tmp_path_factory.mktemp("upgrade") / "shop")


@pytest.fixture(scope="module")
def python(application, tmp_path_factory):
    """Do the steps of `docs/upgrade.md` for the application, and return the Python of its environment."""
    folder = tmp_path_factory.mktemp("environment")
    python, wheel = environment(folder), build_wheel(tmp_path_factory.mktemp("wheel"), NEW)
    shutil.copy(wheel, application / "wheels")
    requirements = application / "requirements.txt"
    requirements.write_text(requirements.read_text().replace(f"=={PIN}", f"=={NEW}"))
    install(python, application, *map(str, application.glob("wheels/*.whl")))
    created = run(python, application, "-m", "zuplo_origin", "new", "../today", "--database", "sqlite")
    assert created.returncode == 0, created.stderr
    shutil.copy(application.parent / "today/constraints.txt", application)
    install(python, application, "-r", "requirements-dev.txt")
    return python


def test_tests_of_an_application_of_the_version_before_pass(application, python):
    ended = run(python, application, "-m", "pytest", "-W", "error::DeprecationWarning:zuplo_origin")

    assert run(python, application, "-c", "import zuplo_origin; print(zuplo_origin.__version__)").stdout == f"{NEW}\n"
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"\b19 passed", ended.stdout) and "warning" not in ended.stdout, ended.stdout


def test_server_of_an_application_of_the_version_before_starts(application, python, tmp_path):
    issuer, port = Issuer(), free_port()
    variables = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "PYTHONPATH": ""}
    command = [str(python), "-m", "zuplo_origin.server"]
    with Server(command, port, tmp_path / "log", variables, application) as server:
        response = server.get("/me", {"Authorization": f"Bearer {issuer.token(sub='user-1')}"})
        server.stop()
    issuer.close()

    assert response[0] == 200 and json.loads(response[2])["sub"] == "user-1"
    assert '"level":"error"' not in server.output()


def test_doctor_finds_nothing_else_to_change_after_the_steps(application, python):
    ended = run(python, application, "-m", "zuplo_origin", "doctor")

    assert (ended.returncode, ended.stdout) == (0, f"nothing to change for zuplo-origin {NEW}\n")


def test_doctor_names_the_pin_before_the_steps(python, tmp_path):
    application = shutil.copytree(BEFORE, tmp_path / "shop")
    ended = run(python, application, "-m", "zuplo_origin", "doctor")

    assert ended.returncode == 1
    assert f"requirements.txt:4: pins zuplo-origin {PIN}; write zuplo-origin=={NEW}\n" in ended.stdout


# -- what is public ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", PUBLIC["imports"])
def test_public_names_can_be_imported(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        missing = [name for name in PUBLIC["imports"][module] if not hasattr(importlib.import_module(module), name)]

    assert missing == []


def test_imports_of_an_application_and_of_the_documentation_are_public():
    files = [*BEFORE.rglob("*.py"), BEFORE / "craft", *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    found = [
        (module, name)
        for file in files
        for module, names in re.findall(r"^from (zuplo_origin[\w.]*) import ([\w, ]+)$", file.read_text(), re.MULTILINE)
        for name in re.split(r", ?", names.partition("  #")[0].strip())
    ]

    assert len(found) > 50
    assert {f"{module}: {name}" for module, name in found if name not in PUBLIC["imports"].get(module, ())} <= ADDED


ADDED: set[str] = set()
"""Imports that an application or a page has, and that 0.2.0 did not promise: those of the next version."""


def test_public_settings_reasons_events_and_metrics_are_there():
    page = (ROOT / "docs/logs-and-metrics.md").read_text()
    documented = set(re.findall(r"`(\w+)`", page))

    assert set(PUBLIC["settings"]) - {"ENV_FILE"} <= settings.SETTINGS.keys() | settings.RENAMED.keys()
    assert set(PUBLIC["reasons"]) <= {reason.value for reason in Reason}
    assert set(PUBLIC["events"]) | set(PUBLIC["metrics"]) <= documented


def test_public_commands_are_there(tmp_path):
    printed = craft(copy_of_the_project(tmp_path), "list").stdout

    assert [name for name in PUBLIC["commands"] if not re.search(rf"^ +{name} ", printed, re.MULTILINE)] == []


def test_renamed_setting_is_read_with_a_warning():
    program = (
        "import logging; logging.basicConfig()\n"
        "from types import SimpleNamespace\n"
        "from zuplo_origin import settings\n"
        "settings.RENAMED['JWT_SKEW'] = 'JWT_LEEWAY'\n"
        "print(settings.read_settings(SimpleNamespace(get=lambda path, default=None: None)).leeway)"
    )
    variables = {"JWT_ISSUER": "https://gw.example", "JWT_AUDIENCE": "*", "PYTHONPATH": str(ROOT)}
    for more, expected in (({}, "3.0\n"), ({"JWT_LEEWAY": "5"}, "5.0\n")):
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env={**variables, "JWT_SKEW": "3", **more},
            capture_output=True,
            text=True,
        )
        assert (ended.returncode, ended.stdout) == (0, expected), ended.stderr
        warning = "JWT_SKEW was renamed to JWT_LEEWAY: the next minor version does not read the old name"
        assert ended.stderr.count(warning) == (0 if more else 1)
