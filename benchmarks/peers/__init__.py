"""Other stacks, which do the same work as this application.

Each guards ``GET /protected``, and all but one ``POST /echo``, in two processes with cached keys, and writes a line of
access log for each response. Each follows the documentation of its libraries, and takes ``ISSUER`` and ``AUDIENCE``
from the environment.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSTALLED = HERE.parents[1] / "storage" / "benchmarks"
PROCESSES = "2"


@dataclass(frozen=True)
class Peer:
    """A peer's folder, and the command that serves it on a port."""

    folder: Path
    command: Callable[[int], list[str]]


def _python(*arguments: str) -> list[str]:
    return [str(INSTALLED / "venv" / "bin" / "python"), *arguments]


def _gunicorn(target: str) -> Callable[[int], list[str]]:
    logged = ["--access-logfile", "-"]
    return lambda port: _python("-m", "gunicorn", "-w", PROCESSES, "-b", f"127.0.0.1:{port}", *logged, target)


def _uvicorn(target: str) -> Callable[[int], list[str]]:
    return lambda port: _python("-m", "uvicorn", target, "--port", str(port), "--workers", PROCESSES)


def _node(script: str) -> Callable[[int], list[str]]:
    return lambda port: ["node", script, str(port), PROCESSES]


PEERS = {
    "masonite seed": Peer(HERE / "masonite_seed", _gunicorn("wsgi:application")),
    "flask + PyJWT": Peer(HERE, _gunicorn("flask_pyjwt:app")),
    "django + simplejwt": Peer(HERE, _gunicorn("django_simplejwt:app")),
    "fastapi + PyJWT": Peer(HERE, _uvicorn("fastapi_pyjwt:app")),
    "starlette + joserfc": Peer(HERE, _uvicorn("starlette_joserfc:app")),
    "express": Peer(INSTALLED / "node", _node("express.js")),
    "fastify + jose": Peer(INSTALLED / "node", _node("fastify.mjs")),
}


def install() -> list[str]:
    """Install the peers' dependencies under ``storage/benchmarks``, and return a line for each failure."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    failed = []
    steps = [[sys.executable, "-m", "venv", str(INSTALLED / "venv")], _python("-m", "pip", "install", "-q", "-r")]
    steps[1].append(str(HERE / "requirements.txt"))
    if not all(_runs(step, HERE) for step in steps):
        failed.append("the peers in Python: see benchmarks/peers/requirements.txt")
    node = INSTALLED / "node"
    node.mkdir(exist_ok=True)
    for name in ("package.json", "express.js", "fastify.mjs"):
        shutil.copy(HERE / name, node)
    if not _runs(["npm", "install", "--silent", "--no-audit", "--no-fund"], node):
        failed.append("the peers in JavaScript: see benchmarks/peers/package.json")
    return failed


def _runs(command: list[str], folder: Path) -> bool:
    try:
        return subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False
