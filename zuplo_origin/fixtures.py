"""pytest's fixtures for the tests of an application: ``client`` sends requests, ``token`` makes tokens.

``tests/conftest.py`` imports them.
"""

from collections.abc import Callable, Iterator

import pytest

from .testing import TestCase, issuer


@pytest.fixture
def client() -> Iterator[TestCase]:
    """Yield a ``TestCase``: ``client.acting_as(scope="read:orders").get("/orders").assertOk()``."""
    case = TestCase()
    case.setUp()
    try:
        yield case
    finally:
        case.doCleanups()


@pytest.fixture
def token() -> Callable[..., str]:
    """Return a function that makes an accepted token: ``token(scope="read:orders", sub="user-1")``."""
    return issuer().token
