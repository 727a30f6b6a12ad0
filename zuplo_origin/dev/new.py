"""Write a new application: the files of the template, with its name and its database."""

import importlib.metadata
import json
import os
import re
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zuplo_origin import __version__

from . import template

DATABASES = ("sqlite", "postgres", "none")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9 ._-]{0,30}[A-Za-z0-9]|[A-Za-z]")
"""The name of an API. It is in a challenge's realm, in Python and YAML; its slug is the name of a Linux user too."""

Edit = tuple[str, str, str]
"""A file, a text that it has once, and the text of an application."""

EDITS: dict[str, list[Edit]] = {
    # an application installs zuplo-origin from a wheel, and the image needs no development tools
    "always": [
        (
            "Dockerfile",
            "COPY requirements.txt /\n",
            "COPY requirements.txt constraints.txt /install/\nCOPY wheels /install/wheels\n",
        ),
        (
            "Dockerfile",
            "--require-hashes -r /requirements.txt \\\n",
            "-r /install/requirements.txt \\\n"
            "    && cd /venv/lib/python*/site-packages/zuplo_origin \\\n"
            "    && rm -r dev fixtures.py testing.py __main__.py \\\n",
        ),
        ("Dockerfile", "COPY . .\n", "COPY . .\nRUN rm -r wheels\n"),
    ],
    "sqlite": [],
    "postgres": [
        ("Procfile", "zuplo_origin.server\n", "zuplo_origin.server\nrelease: python craft migrate --force\n"),
        ("config/database.py", "SQLite in this folder, or the one", "PostgreSQL on this machine, or the one"),
        ("config/database.py", "from pathlib import Path\n\n", ""),
        ("config/database.py", 'FILE = Path(__file__).resolve().parents[1] / "database.sqlite3"\n\n', ""),
        ("config/database.py", "/name, or sqlite:////path/to/file\n", "/name\n"),
        ("config/database.py", 'f"sqlite:///{FILE}"', '"postgres://postgres@127.0.0.1:5432/{{slug}}"'),
        (".env-example", "SQLite in this folder", "PostgreSQL on this machine"),
    ],
    "none": [
        ("config/providers.py", "from zuplo_origin.services import DatabaseProvider\n", ""),
        ("config/providers.py", "    DatabaseProvider,\n", ""),
        ("tests/conftest.py", ", and a database of their own, which TEST_DATABASE_URL may name", ""),
        ("tests/conftest.py", "import pytest\nfrom masonite.tests.TestCommand import TestCommand\n\n", ""),
    ],
}
"""The differences of an application, by its database. A text that a file does not have once is an error."""

CUTS = {
    ".env-example": r"# -- Database: .*?\n\n(?=# -- )",
    "deploy/compose.yaml": r" +DATABASE_URL: [^\n]*\n",
    "tests/conftest.py": r"\n\n@pytest\.fixture.*",
}
"""Patterns of what an application without a database does not have."""
WITHOUT = ("databases/", "config/database.py")
"""Folder and file that it does not have."""


class NotCreated(Exception):
    """An application that cannot be created. The text is the reason, in one sentence."""


def create(folder: str, name: str | None, database: str) -> str | None:
    """Create the application ``folder``, and return the name of the wheel in it, or ``None`` if it has none.

    Raises ``NotCreated``. Then ``folder`` is as it was.
    """
    try:
        target = Path(folder)
        _check(folder, target)
        made = files(_name(name, target), database)
        wheel = installed_from()
        _write(target, made, wheel)
    except (OSError, ValueError) as error:
        raise NotCreated(f"{folder}: {getattr(error, 'strerror', None) or error}") from None
    return wheel.name if wheel else None


def _check(folder: str, target: Path) -> None:
    if not folder:
        raise NotCreated("the application needs a folder")
    if target.is_dir():
        if any(target.iterdir()):
            raise NotCreated(f"{folder} is not empty; an application needs a new or an empty folder")
    elif os.path.lexists(target):
        raise NotCreated(f"{folder} exists and is not a folder")
    elif not target.parent.is_dir():
        raise NotCreated(f"the folder {target.parent} does not exist")


def _name(name: str | None, target: Path) -> str:
    found = target.resolve().name if name is None else name
    if NAME.fullmatch(found):
        return found
    expected = "up to 32 letters, digits, spaces and ._- that begin with a letter, and end with a letter or a digit"
    option = "use --name: the folder's name" if name is None else "--name: it"
    raise NotCreated(f"{option} is {found[:60]!r}; expected {expected}")


def slug(name: str) -> str:
    """Return ``name`` as the name of an image, a service, a database and a user: ``my-shop`` for ``My Shop``."""
    return re.sub("[^a-z0-9]+", "-", name.lower())


def files(name: str, database: str) -> dict[str, str]:
    """Return the files of the application ``name``: relative path to text. The wheel is not one of them."""
    folder = template.root()
    made = {each: _read(folder / each) for each in template.names(folder)}
    for file, old, new in [*EDITS["always"], *EDITS[database]]:
        if made[file].count(old) != 1:
            raise ValueError(f"the template's {file} does not have this once: {old!r}")
        made[file] = made[file].replace(old, new)
    if database == "none":
        made = {each: text for each, text in made.items() if not each.startswith(WITHOUT)}
        for file, pattern in CUTS.items():
            made[file], count = re.subn(pattern, "", made[file], flags=re.DOTALL)
            if count != 1:
                raise ValueError(f"the template's {file} does not match this once: {pattern!r}")
    made |= {each: _own(each, database) for each in template.OWN}
    title = "# The versions that zuplo-origin {{version}} was tested with. An upgrade replaces this file.\n"
    made["constraints.txt"] = title + template.versions(_read(folder / template.LOCKED))
    made["wheels/.gitkeep"] = ""
    return {_renamed(each, name): _named(each, text, name) for each, text in made.items()}


def _read(file: Path) -> str:
    return file.read_bytes().decode("utf-8")


def _own(file: str, database: str) -> str:
    """Return a file of ``application/``, with the sections for ``database`` alone."""
    text = _read(Path(__file__).with_name("application") / file)
    section = re.compile(r"(?:<!--|#) if ([a-z ]+?)(?: -->)?\n(.*?)(?:<!--|#) end(?: -->)?\n", re.DOTALL)
    return section.sub(lambda found: found[2] if database in found[1].split() else "", text)


def _renamed(file: str, name: str) -> str:
    return file.replace("zuplo-origin", slug(name)) if file.startswith("deploy/") else file


def _named(file: str, text: str, name: str) -> str:
    """Return ``text`` with the names of the application in the places of the template's."""
    if file.startswith("deploy/") or file == "Dockerfile":
        text = text.replace("zuplo-origin", slug(name)).replace("docs/deploy.md", "docs/deploy.md of zuplo-origin")
    if file in ("config/application.py", ".env-example"):
        text = text.replace("Zuplo origin", name)
    values = {"name": name, "slug": slug(name), "version": __version__}
    return re.sub(r"\{\{(name|slug|version)\}\}", lambda found: values[found[1]], text)


def installed_from() -> Path | None:
    """Return the wheel that this version was installed from, if pip or uv took it from a file that is still there."""
    try:
        origin = importlib.metadata.distribution("zuplo-origin").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    url = urlsplit(json.loads(origin or "{}").get("url", ""))
    wheel = Path(url2pathname(url.path))
    expected = f"zuplo_origin-{__version__}-"
    is_wheel = url.scheme == "file" and wheel.name.startswith(expected) and wheel.suffix == ".whl"
    return wheel if is_wheel and wheel.is_file() else None


def _write(target: Path, made: dict[str, str], wheel: Path | None) -> None:
    """Write the files to a temporary folder, and then rename it, or what is in it: all files appear, or none."""
    exists = target.is_dir()  # an empty folder, which may be the current one: it stays
    with ExitStack() as undo:
        temporary = Path(tempfile.mkdtemp(prefix=".zuplo-origin-", dir=target if exists else target.parent))
        undo.callback(shutil.rmtree, temporary, ignore_errors=True)
        for name, text in made.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8"))
        (temporary / "craft").chmod(0o777 & ~_umask())
        if wheel is not None:
            shutil.copyfile(wheel, temporary / "wheels" / wheel.name)
        if not exists:
            temporary.chmod(0o777 & ~_umask())
            temporary.rename(target)
            undo.pop_all()
            return
        moved = ExitStack()
        with moved:
            for path in sorted(temporary.iterdir()):
                moved.callback(_remove, target / path.name)
                path.rename(target / path.name)
            moved.pop_all()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
