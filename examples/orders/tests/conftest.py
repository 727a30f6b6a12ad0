"""Settings for the tests: an issuer on loopback, and a database of their own, which TEST_DATABASE_URL may name."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from zuplo_origin.fixtures import client, token
from zuplo_origin.testing import prepare_environment

__all__ = ["client", "token"]

prepare_environment()

PROJECT = Path(__file__).resolve().parents[1]
SECRET = "a secret of the payment service, for tests"

folder = tempfile.mkdtemp()
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{folder}/test.sqlite3"
os.environ["PAYMENTS_SECRET"] = SECRET
subprocess.run([sys.executable, "craft", "migrate"], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
