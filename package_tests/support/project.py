"""Copies of projects that a test may write to, and their commands."""

import shutil
import subprocess
import sys
from pathlib import Path

from .servers import PROJECT, Server, clean_environment, free_port

_IGNORED = shutil.ignore_patterns("__pycache__", "storage")


def copy_of_the_project(folder: Path) -> Path:
    """Copy the project of the tests into `folder`, and return it. Its processes import the product from the root."""
    return Path(shutil.copytree(PROJECT, folder, ignore=_IGNORED, dirs_exist_ok=True))


def replace_users_files(repository: Path) -> Path:
    """Replace the user's files in a copy of the repository by those of the project of the tests, and return it."""
    for source in PROJECT.iterdir():
        if source.name in ("__pycache__", "storage"):
            continue
        target = repository / source.name
        if target.is_dir():
            shutil.rmtree(target)
        elif target.exists():
            target.unlink()
        elif source.name == "tests":  # not part of the image
            continue
        if source.is_dir():
            shutil.copytree(source, target, ignore=_IGNORED)
        else:
            shutil.copy(source, target)
    return repository


def craft(project: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a craft command of `project` with `settings` alone, and return the completed process."""
    return subprocess.run(
        [sys.executable, "craft", *arguments],
        cwd=project,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def serve(project: Path, log: Path, *arguments: str, **settings: str) -> Server:
    """Return `craft serve` of `project`, on a free port."""
    port = free_port()
    return Server([sys.executable, "craft", "serve", "--port", str(port), *arguments], port, log, settings, project)
