"""Settings for the tests: an issuer on loopback, whose tokens the application accepts."""

from zuplo_origin.testing import prepare_environment

prepare_environment()
