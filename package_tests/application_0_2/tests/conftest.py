"""Settings for the tests: an issuer on loopback, and a database of their own, which TEST_DATABASE_URL may name."""

import os
import tempfile

import pytest
from masonite.tests.TestCommand import TestCommand

from zuplo_origin.testing import prepare_environment

prepare_environment()

folder = tempfile.TemporaryDirectory()
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{folder.name}/test.sqlite3"


@pytest.fixture(scope="session", autouse=True)
def migrated_database():
    """Create the tables. A test with Masonite's `DatabaseTransactions` leaves no rows behind."""
    from wsgi import application

    TestCommand(application).run("migrate", "").assertSuccess()
