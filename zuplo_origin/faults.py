"""Faults at start: one line that names the user's file and line, instead of a traceback."""

import linecache
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

PACKAGE = Path(__file__).resolve().parent
_OF_OTHERS = {"site-packages", "dist-packages", ".venv", "venv"}
"""Names of folders, in a project too, whose code is not the user's."""
_MISSING_BINDING = re.compile(r"(.+) key was not found in the container")
_LONGEST = 500
DATABASE_URLS = ("postgres", "postgresql", "pgsql", "postgis", "mysql", "mysql2", "mysqlgis", "sqlite")
"""Schemes of ``DATABASE_URL`` that select a driver of this product."""


def print_fault(error: BaseException, root: Path) -> None:
    """Print why the application cannot start. In development, the user's part of the traceback follows."""
    lines = [f"Cannot start: {explain(error, root)}"]
    if os.environ.get("APP_ENV") == "local" and getattr(error, "place", None) is None:
        for file, line, function in frames_of(error, root):
            lines += [f'  File "{file}", line {line}, in {function}', f"    {linecache.getline(file, line).strip()}"]
    print("\n".join(lines), file=sys.stderr, flush=True)


def explain(error: BaseException, root: Path) -> str:
    """Return one line: the file and the line of the user's code that failed, and the exception."""
    place = getattr(error, "place", None)
    if isinstance(error, SyntaxError) and error.filename:
        place = error.filename, error.lineno or 0
    for frame in () if place else frames_of(error, root):
        place = frame[:2]
    said = _describe(error, root)
    if place is not None:
        file = os.path.relpath(place[0], root) if is_of_user(place[0], root) else place[0]
        said = f"{file}:{place[1]}: {said}"
    return " ".join(said.split())[:_LONGEST]


def _describe(error: BaseException, root: Path) -> str:
    if type(error).__name__ in ("RouteError", "RouteMiddlewareNotFound"):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    steps = list(_steps(error.__traceback__))
    for step in steps:
        if step.tb_frame.f_code.co_name == "db_url":
            return _describe_url(step.tb_frame.f_locals.get("database_url"))
    provider, missing = _provider_of(steps), _MISSING_BINDING.match(str(error))
    if provider and missing:
        needs = f"{provider} needs {missing[1]!r}, which no provider above it in config/providers.py binds"
        return f"{needs}; add that provider, or move it up"
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if provider:
        said = f"{provider}: {said}"
    file = steps[-1].tb_frame.f_code.co_filename if steps else "<"
    if file.startswith("<") or is_of_user(file, root):
        return said
    return f"{said}, raised in {'/'.join(Path(file).parts[-2:])}:{steps[-1].tb_lineno}"


def _describe_url(given: Any) -> str:
    """Return why the ORM's ``db_url`` raised. The URL may contain a password."""
    set_to = os.environ.get("DATABASE_URL") or ""
    url = str(given or set_to)
    name = "DATABASE_URL" if url == set_to else "the database's URL"
    scheme = url.partition(":")[0]
    expected = "expected a URL that begins with postgres://, mysql:// or sqlite://"
    if not url:
        return f"{name}: not set; {expected}"
    if scheme not in DATABASE_URLS:
        return f"{name}: invalid scheme {scheme[:20]!r}; {expected}"
    return f"{name}: invalid host or port; expected a URL such as postgres://user:password@host:5432/name"


def _steps(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _provider_of(steps: list[TracebackType]) -> str | None:
    """Return the name of the class of the provider whose ``register`` raised; ``None`` if none did."""
    for step in steps:
        if step.tb_frame.f_code.co_name == "register" and "self" in step.tb_frame.f_locals:
            kind = type(step.tb_frame.f_locals["self"])
            if kind.__name__.endswith("Provider"):
                return str(kind.__name__)
    return None


def frames_of(error: BaseException, root: Path) -> Iterator[tuple[str, int, str]]:
    """Yield file, line and function of each step of the traceback that is in the user's code, the last call last."""
    for frame in traceback.extract_tb(error.__traceback__):
        if is_of_user(frame.filename, root):
            yield frame.filename, frame.lineno or 0, frame.name


def is_of_user(file: str, root: Path) -> bool:
    path = Path(os.path.abspath(file))
    if file.startswith("<") or not path.is_relative_to(root.resolve()) or path.is_relative_to(PACKAGE):
        return False
    return _OF_OTHERS.isdisjoint(path.relative_to(root.resolve()).parts)


def problems_with_providers(providers: Iterable[Any]) -> Iterator[str]:
    """Yield a sentence for each element of ``PROVIDERS`` that is not a provider's class."""
    for number, each in enumerate(providers):
        if isinstance(each, type) and callable(getattr(each, "register", None)):
            continue
        expected = "expected a class with the method register"
        if isinstance(each, type(sys)):
            expected = f"expected a class: from {each.__name__} import {each.__name__.rpartition('.')[2]}"
        elif isinstance(each, str):
            expected = "expected a class, which config/providers.py imports"
        yield f"config/providers.py: PROVIDERS[{number}]: invalid value {_short(each)}; {expected}"


def _short(value: Any) -> str:
    return repr(value)[:120]


NEED_SETTINGS = ("DatabaseProvider", "JWKSProvider", "JWTProvider", "ObservabilityProvider", "OpenApiProvider")
"""Providers that do less, or nothing, without the settings."""


def problems_with_order(names: list[str], bound_settings: int | None) -> Iterator[str]:
    """Yield a sentence for each provider that must be below the one that binds the settings, and is not."""
    for name in names[: bound_settings or 0]:
        if name in NEED_SETTINGS:
            assert bound_settings is not None  # noqa: S101
            yield f"config/providers.py: {name} is above {names[bound_settings]}, which it needs; move it below"


def problems_with_middleware(middleware: Iterable[Any]) -> Iterator[str]:
    """Yield a sentence for each middleware that is not a class."""
    for each in middleware:
        if not (isinstance(each, type) and hasattr(each, "before") and hasattr(each, "after")):
            expected = "expected a class with the methods before and after"
            yield f"Kernel.py: middleware: invalid value {_short(each)}; {expected}"


SERVER_NEEDS = {"settings": "SettingsProvider", "jwks": "JWKSProvider", "guard": "JWTProvider"}
"""Bindings, and the providers that make them in their order."""


def problems_with_guard(application: Any) -> Iterator[str]:
    """Yield a sentence if routes are guarded, and no provider has bound the guard."""
    if application.has("guard") or application.has("settings.problems") or not application.has("router"):
        return
    for route in application.make("router").routes:
        keys = {each.partition(":")[0] for each in route.get_middlewares()} & {"jwt", "claims"}
        if keys:
            key, provider = next(each for each in SERVER_NEEDS.items() if not application.has(each[0]))
            needs = f"the route {route.url} with .middleware({min(keys)!r}) needs"
            yield f"config/providers.py: no provider binds {key!r}, which {needs}; add {provider}"
            return


def problems_with_server(application: Any) -> Iterator[str]:
    """Yield a sentence for each binding that every server needs, and no provider has made."""
    if not application.has("settings.problems"):
        for key, provider in {"exception_handler": "ExceptionProvider", **SERVER_NEEDS}.items():
            if key != "guard" and not application.has(key):
                yield f"config/providers.py: no provider binds {key!r}, which a server needs; add {provider}"
