"""Packages of npm that tests need, installed once for each lock file."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def installed(source: Path) -> Path:
    """Install the locked packages of the folder `source` in the user's cache, with a copy of its files.

    Return the folder in the cache. Without node or npm, the test is skipped, or fails if ``NPM_REQUIRED`` is set.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        if "NPM_REQUIRED" in os.environ:
            raise AssertionError("node or npm is not installed, but NPM_REQUIRED is set")
        pytest.skip("node or npm is not installed: apt-get install nodejs npm")
    files = sorted(path for path in source.iterdir() if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zuplo-origin-tests"
    folder = cache / f"{source.name}-{digest}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        for path in files:
            shutil.copy(path, made)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        ended = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=300)
        if ended.returncode != 0:
            if "NPM_REQUIRED" in os.environ:
                raise AssertionError(f"npm ci failed: {ended.stderr}")
            pytest.skip(f"npm ci failed: {ended.stderr[-300:]}")
        if not folder.exists():  # another process may have installed it meanwhile
            Path(made).rename(folder)
            Path(made).mkdir()
    return folder
