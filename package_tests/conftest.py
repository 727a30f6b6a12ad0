"""One issuer for all tests, named to the application before it starts."""

import os

import pytest

import zuplo_origin.http  # noqa: F401  # before any module of a test: it imports Masonite in the order that works
from package_tests.support.gateway import GATEWAY
from package_tests.support.issuer import Issuer
from package_tests.support.servers import clean_environment
from zuplo_origin.testing import issuer as testing_issuer
from zuplo_origin.testing import prepare_environment

_issuer = GATEWAY

for _name in set(os.environ) - set(clean_environment()):
    del os.environ[_name]
prepare_environment()
os.environ.update(
    APP_ENV="testing",
    JWT_ISSUER=f"{_issuer.name},{testing_issuer().name}",
    JWT_AUDIENCE="https://api.test/*,orders-api",
    JWT_ALGORITHMS="EdDSA,RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512",
)


@pytest.fixture
def issuer():
    """The issuer that `wsgi.application` believes, as it was."""
    keys, headers = list(_issuer.keys), dict(_issuer.headers)
    yield _issuer
    _issuer.keys, _issuer.headers, _issuer.behave, _issuer.document = keys, headers, None, None


@pytest.fixture
def application():
    from wsgi import application

    return application


@pytest.fixture
def other_issuer():
    """An issuer of the test's own."""
    made = Issuer([])
    yield made
    made.close()
