"""The files of a new application: this repository's own, and those in ``application/`` that must differ from them.

A wheel has a copy of the repository's files in ``template/``, which ``setup.py`` makes when it builds the wheel. In a
checkout they are read where they are. This module imports the standard library alone: ``setup.py`` imports it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

FILES = (
    ".dockerignore",
    ".editorconfig",
    ".env-example",
    ".gitignore",
    ".python-version",
    "Dockerfile",
    "Kernel.py",
    "Procfile",
    "craft",
    "wsgi.py",
)
FOLDERS = ("app", "config", "databases", "deploy", "routes", "tests")
"""The user's files and folders at the top of this repository: a new application has them, with ``EDITS``."""

LOCKED = "requirements-dev.txt"
"""The versions that this version was tested with: ``constraints.txt`` of an application has them, without hashes."""

OWN = {
    "README.md": "this repository's README describes the product",
    "pyproject.toml": "this repository's builds the wheel, and sets up its linters and package_tests",
    "requirements.txt": "an application needs zuplo-origin, this repository what zuplo-origin needs",
    "requirements-dev.txt": "the tests of an application need pytest, those of the product much more",
}
"""Files of an application that have another text here, to the reason. They are in ``application/``."""

_IGNORED = (".pyc", ".sqlite3", ".sqlite3-shm", ".sqlite3-wal")


def root() -> Path:
    """Return the folder with ``FILES``, ``FOLDERS`` and ``LOCKED``: of the wheel, or the checkout."""
    packaged = Path(__file__).with_name("template")
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2]


def names(folder: Path) -> Iterator[str]:
    """Yield the relative paths of the template's files in ``folder``, without ``LOCKED``.

    Hidden files of folders are left out, because they may have secrets; ``.gitkeep`` is not.
    """
    yield from FILES
    for top in FOLDERS:
        for path in sorted((folder / top).rglob("*")):
            parts = path.relative_to(folder).parts
            hidden = any(part.startswith(".") for part in parts) and path.name != ".gitkeep"
            if path.is_file() and not hidden and "__pycache__" not in parts and not path.name.endswith(_IGNORED):
                yield "/".join(parts)


def versions(locked: str) -> str:
    """Return the versions of ``LOCKED``, one a line, without hashes: pip takes hashes for all packages, or for none."""
    return "".join(f"{each}\n" for each in re.findall(r"^([A-Za-z0-9._-]+==[^\\\n]*?) *\\?$", locked, re.MULTILINE))
