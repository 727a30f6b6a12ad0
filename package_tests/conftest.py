"""Fixtures of the product's tests. They import nothing of the application in the root folder."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

import zuplo_origin.http  # noqa: F401  # first: Masonite's modules fail when imported in another order
from package_tests.support.applications import project_application
from package_tests.support.gateway import GATEWAY
from package_tests.support.issuer import Issuer
from package_tests.support.servers import is_configuration

collect_ignore = ["application_0_2", "project", "project_masonite", "project_services"]  # run in copies
LONGEST = (
    "test_docs",
    "test_new",
    "test_upgrade",
    "test_console_browser",
    "test_example_orders",
    "test_services_queue",
    "test_server_stop",
    "test_stock_commands",
    "test_terminal",
    "test_protected_make",
    "test_server_connections",
    "test_settings",
    "test_server_bodies",
    "test_availability",
    "test_server",
    "test_origin_check",
    "test_server_reload",
    "test_services_testing",
    "test_gateway_types",
    "test_services_hammer",
    "test_wheel",
    "test_growth",
    "test_gateway_end_to_end",
    "test_properties",
)
"""Files that run longest, the longest first. They start first: one that starts late would run alone at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run these tests in four processes, unless ``-n`` says otherwise: most wait for servers.

    This file is not read for ``tests/`` alone, whose few tests take less time than the start of the processes.
    """
    is_worker = hasattr(config, "workerinput")  # would start processes too, without end
    if getattr(config.option, "numprocesses", 0) is None and not is_worker and not config.option.usepdb:
        config.option.numprocesses = 4


def pytest_configure(config):
    """Keep compiled modules in pytest's cache if the environment says not to write them beside their sources.

    Hundreds of short processes would each compile the product again.
    """
    if sys.dont_write_bytecode and hasattr(config, "cache") and not hasattr(config, "workerinput"):
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(config.cache.mkdir("bytecode"))


def pytest_unconfigure(config):
    """Remove the compiled modules of temporary projects from pytest's cache."""
    if sys.pycache_prefix is not None and not hasattr(config, "workerinput"):
        for folder in Path(sys.pycache_prefix + tempfile.gettempdir()).glob("pytest-of-*"):
            shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items):
    names = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: names.get(item.path.stem, len(names)))


def pytest_itemcollected(item):
    """Turn warnings into errors, for the tests of this folder alone."""
    item.add_marker(pytest.mark.filterwarnings("error"), append=False)


@pytest.fixture(autouse=True)
def environment():
    """Remove settings from the environment for one test: the developer's, and those of `tests/conftest.py`."""
    removed = {name: os.environ.pop(name) for name in list(os.environ) if is_configuration(name)}
    yield
    os.environ.update(removed)


@pytest.fixture
def issuer():
    """Yield the issuer that `application` trusts. What a test changes of it is restored."""
    keys, headers = list(GATEWAY.keys), dict(GATEWAY.headers)
    yield GATEWAY
    GATEWAY.keys, GATEWAY.headers, GATEWAY.behave, GATEWAY.document = keys, headers, None, None


@pytest.fixture
def application():
    return project_application()


@pytest.fixture
def other_issuer():
    issuer = Issuer([])
    yield issuer
    issuer.close()
