"""A copy of the project, so that a test may write into it."""

import shutil
from pathlib import Path

from .servers import ROOT

FOLDERS = ("app", "config", "routes", "templates")
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
