"""Settings for the tests: an issuer on loopback, and a database of their own, which TEST_DATABASE_URL may name."""

from pathlib import Path

import pytest
from masonite.tests.TestCommand import TestCommand

from zuplo_origin.fixtures import client, token
from zuplo_origin.testing import prepare_environment

__all__ = ["client", "token"]

prepare_environment()


@pytest.fixture(scope="session", autouse=True)
def migrated_database():
    """Create the tables, if a test has added a database and migrations to the project."""
    if Path("databases/migrations").is_dir():
        from wsgi import application

        if application.has("database"):
            TestCommand(application).run("migrate", "").assertSuccess()
