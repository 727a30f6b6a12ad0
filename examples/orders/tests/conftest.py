"""Settings for the tests: an issuer on loopback, and a database of their own, which TEST_DATABASE_URL may name."""

import pytest
from masonite.tests.TestCommand import TestCommand

from zuplo_origin.fixtures import client, token
from zuplo_origin.testing import prepare_environment

__all__ = ["client", "token"]

SECRET = "a secret of the payment service, for tests"

prepare_environment(PAYMENTS_SECRET=SECRET)


@pytest.fixture(scope="session", autouse=True)
def migrated_database():
    """Create the tables. A test with Masonite's `DatabaseTransactions` leaves no rows behind."""
    from wsgi import application

    TestCommand(application).run("migrate", "").assertSuccess()
