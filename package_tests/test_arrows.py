"""The directions of imports between the packages of the product."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from package_tests.support.servers import ROOT

PRODUCT = Path(ROOT) / "zuplo_origin"
LISTING = """
import importlib, pkgutil, sys
import zuplo_origin.encoding, zuplo_origin.jwks, zuplo_origin.jwt

for package in (zuplo_origin.jwks, zuplo_origin.jwt):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(*sys.modules)
"""


def imported_modules(path):
    """Return the names of all modules that the import statements of a file name, relative ones in full."""
    package = ["zuplo_origin", *path.relative_to(PRODUCT).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def is_below(name, packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_tokens_and_key_sets_import_neither_masonite_nor_the_application():
    listed = subprocess.run([sys.executable, "-c", LISTING], cwd=ROOT, capture_output=True, text=True, timeout=60)
    loaded = set(listed.stdout.split())

    assert {"zuplo_origin.jwt.verifier", "zuplo_origin.jwks.shared"} <= loaded, listed.stderr
    forbidden = ("masonite", "app", "routes", "config", "redis", "zuplo_origin.http", "zuplo_origin.settings")
    assert [name for name in loaded if is_below(name, forbidden)] == []


@pytest.mark.parametrize("path", sorted((PRODUCT / "http").rglob("*.py")), ids=lambda path: path.name)
def test_http_imports_nothing_of_tokens_key_sets_and_observability(path):
    forbidden = [f"zuplo_origin.{name}" for name in ("jwt", "jwks", "openapi", "observability", "guard", "factory")]

    assert [name for name in imported_modules(path) if is_below(name, forbidden)] == []


def test_product_does_not_import_the_application():
    paths = sorted(PRODUCT.rglob("*.py"))
    assert len(paths) > 50
    found = {
        f"{path.relative_to(PRODUCT)}: {name}"
        for path in paths
        for name in imported_modules(path)
        if is_below(name, ("app", "routes", "config"))
    }

    assert found == set()  # server/workers.py and craft.py load the application's modules by name, at run time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import app.models", {"app.models"}),
        ("from app import models", {"app", "app.models"}),
        ("def f():\n    from . import x", {"zuplo_origin.http", "zuplo_origin.http.x"}),
        ("from ..jwt.reasons import Reason", {"zuplo_origin.jwt.reasons", "zuplo_origin.jwt.reasons.Reason"}),
    ],
)
def test_import_statements_are_found(text, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("package_tests.test_arrows.PRODUCT", tmp_path)
    path = tmp_path / "http" / "module.py"
    path.parent.mkdir()
    path.write_text(text)

    assert imported_modules(path) == expected
