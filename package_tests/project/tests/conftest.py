"""Settings for the tests: an issuer on loopback, whose tokens the application accepts."""

from zuplo_origin.fixtures import client, token
from zuplo_origin.testing import prepare_environment

__all__ = ["client", "token"]

prepare_environment()
