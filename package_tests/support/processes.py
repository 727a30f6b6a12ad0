"""Processes that run Python programs.

A start of Python that imports Masonite and the product takes most of the time of a short program. `forked_python` saves
it: it forks the process from one that has imported them. The process has its own memory, environment, folder, arguments
and streams. What it does not show is how Python starts, and which modules a program imports: `python` does.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

from .servers import clean_environment

SECONDS = 120
"""Time that a process has to end."""
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["package_tests.support.preloaded"])


def python(folder: Path, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` in `folder` with `settings` alone, and return the completed process."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=clean_environment(**settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def forked_python(folder: Path, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Do the same in a process that has imported the product's modules, and their libraries, before it begins."""
    with tempfile.TemporaryDirectory() as streams:
        Path(streams, "0").write_text(stdin)
        process = FORKED.Process(
            target=_run, args=(list(arguments), str(folder), clean_environment(**settings), streams)
        )
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["python", *arguments], SECONDS)
        output, errors = (Path(streams, name).read_text() for name in "12")
        ended = subprocess.CompletedProcess(["python", *arguments], process.exitcode, output, errors)
        process.close()
    return ended


def _run(arguments: list[str], folder: str, environment: dict[str, str], streams: str) -> None:
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)):
        file = os.open(Path(streams, str(descriptor)), flags, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    here = os.getcwd()
    first, *rest = arguments
    given = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path = [*given, *(path for path in sys.path if path.startswith((sys.base_prefix, sys.prefix)))]
    if first == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
    elif first == "-m":
        sys.path.insert(0, here)
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(first)))
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")
