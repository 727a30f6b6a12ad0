"""Settings for the tests: an issuer on loopback, and a database of their own, which TEST_DATABASE_URL may name."""

import subprocess
import sys
from pathlib import Path

from zuplo_origin.fixtures import client, token
from zuplo_origin.testing import prepare_environment

__all__ = ["client", "token"]

PROJECT = Path(__file__).resolve().parents[1]
SECRET = "a secret of the payment service, for tests"

prepare_environment(PAYMENTS_SECRET=SECRET)
subprocess.run([sys.executable, "craft", "migrate"], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
