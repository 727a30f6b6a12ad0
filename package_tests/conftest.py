"""Fixtures of the product's tests. They import nothing of the application in the root folder."""

import os

import pytest

import zuplo_origin.http  # noqa: F401  # first: Masonite's modules fail when imported in another order
from package_tests.support.applications import project_application
from package_tests.support.gateway import GATEWAY
from package_tests.support.issuer import Issuer
from package_tests.support.servers import is_configuration

collect_ignore = ["project", "project_services"]  # their tests run in copies of them


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
