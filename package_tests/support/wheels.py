"""The wheel of the product, built from this repository, and environments in which it is installed."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from zuplo_origin.dev import template

from .servers import ROOT, clean_environment

BUILT_FROM = (
    "CHANGELOG.md",
    "MANIFEST.in",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
    "requirements.in",
    "setup.py",
)


def build_wheel(folder: Path, version: str | None = None) -> Path:
    """Build the sdist, and the wheel from it, as `python -m build` does, but with the setuptools that is installed.

    `version` replaces the version.
    """
    source = folder / "source"
    shutil.copytree(ROOT / "zuplo_origin", source / "zuplo_origin", ignore=shutil.ignore_patterns("__pycache__"))
    for name in [*BUILT_FROM, *template.names(ROOT), template.LOCKED]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    if version is not None:
        module = source / "zuplo_origin/__init__.py"
        module.write_text(re.sub('__version__ = ".*"', f'__version__ = "{version}"', module.read_text()))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source]
    ended = subprocess.run(command, capture_output=True, text=True, env=clean_environment(PYTHONPATH=""))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (built,) = folder.glob("*.whl")
    return built


def environment(folder: Path) -> Path:
    """Create an environment that sees the packages of this one, and return its Python. It needs no network.

    `pip` in it does nothing for a requirement that this environment meets.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n" + sysconfig.get_path("platlib") + "\n")
    (folder / "bin/pip").write_text(f'#!/bin/sh\nexec "{python}" -m pip "$@"\n')
    (folder / "bin/pip").chmod(0o755)
    return python


def run(python: Path, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` in `folder`, where it imports the product from its environment alone."""
    settings = {"PYTHONPATH": "", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}
    return subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=clean_environment(**settings | {"PATH": f"{python.parent}:/usr/bin:/bin"} | variables),
        capture_output=True,
        text=True,
        timeout=100,
    )


def install(python: Path, folder: Path, *arguments: str) -> None:
    ended = run(python, folder, "-m", "pip", "install", *arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
