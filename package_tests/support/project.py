"""Copies of projects that a test may write to, and their commands."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

from .processes import forked_python, python
from .servers import PROJECT, Server, free_port

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


def craft(project: Path, *arguments: str, stdin: str = "", **settings: str) -> CompletedProcess[str]:
    """Run a craft command of `project` with `settings` alone, in a forked process, and return the completed process."""
    return forked_python(project, "craft", *arguments, stdin=stdin, **settings)


def start_craft(project: Path, *arguments: str, stdin: str = "", **settings: str) -> CompletedProcess[str]:
    """Do the same as a user does: start Python, which imports what the command needs."""
    return python(project, "craft", *arguments, stdin=stdin, **settings)


BATCH = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from cleo.io.inputs.string_input import StringInput
from zuplo_origin.craft import load_application, prepare_environment
sys.argv = ["craft"]
prepare_environment(Path.cwd(), "")
application = load_application(Path.cwd()).make("commands").command_application
application.auto_exits(False)
results = []
for line in json.loads(sys.stdin.read()):
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = application.run(StringInput(line))
    results.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""
"""A program that runs several commands in one process: loading the application takes most of a command's time."""


def batch(
    project: Path, commands: Sequence[str], run: Callable[..., CompletedProcess[str]] = forked_python, **settings: str
) -> list[tuple[int, str, str]]:
    """Run craft commands in one process, and return exit status, standard output and standard error of each."""
    ended = run(project, "-c", BATCH, stdin=json.dumps(commands), **settings)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return [tuple(result) for result in json.loads(ended.stdout)]


def issued_token(project: Path, *arguments: str) -> str:
    """Return the token that `craft jwt:token` of a running development server prints."""
    ended = craft(project, "jwt:token", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", ended.stdout)
    return ended.stdout.strip()


def serve(project: Path, log: Path, *arguments: str, **settings: str) -> Server:
    """Return `craft serve` of `project`, on a free port."""
    port = free_port()
    return Server([sys.executable, "craft", "serve", "--port", str(port), *arguments], port, log, settings, project)
