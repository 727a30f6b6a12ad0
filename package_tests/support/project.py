"""A copy of the project, so that a test may write into it."""

import shutil
import subprocess
import sys
from pathlib import Path

from .servers import ROOT, Server, clean_environment, free_port

FOLDERS = ("app", "config", "routes", "zuplo_origin")
FILES = ("craft", "wsgi.py", "Kernel.py")


def copy_of_the_project(folder: Path, *more: str) -> Path:
    """Copy what the application consists of into `folder`, and `more` folders or files, and return it."""
    folder.mkdir(exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in (*FOLDERS, *FILES, *more):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def craft(project: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `project`, with nothing set but `settings`, and return what came of it."""
    return subprocess.run(
        [sys.executable, "craft", *arguments],
        cwd=project,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def serve(project: Path, log: Path, *arguments: str, **settings: str) -> Server:
    """`craft serve` in `project`, on a free port."""
    port = free_port()
    return Server([sys.executable, "craft", "serve", "--port", str(port), *arguments], port, log, settings, project)
