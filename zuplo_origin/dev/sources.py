"""Read the files of an application without importing them: it may be broken."""

import ast
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

FOLDERS = ("app", "config", "databases", "routes", "tests")
FILES = ("wsgi.py", "Kernel.py", "craft")
PRODUCT = Path(__file__).resolve().parents[1]


class Unclear(Exception):
    """A list whose items cannot be read. The text is the line number."""


class Sources:
    """The files of the application in ``root``.

    ``broken`` has a sentence for each file that does not compile, and ``unreadable`` one for each that cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.broken: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}
        self._trees: dict[str, ast.Module | None] = {}

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def names(self, *folders: str, suffix: str = ".py") -> list[str]:
        """Return the relative paths of the regular files in ``folders``, in order."""
        found = [path for folder in folders for path in sorted((self.root / folder).rglob(f"*{suffix}"))]
        relative = [path.relative_to(self.root) for path in found if path.is_file()]
        return [path.as_posix() for path in relative if "__pycache__" not in path.parts]

    def python(self) -> list[str]:
        """Return the relative paths of all Python files."""
        return [*filter(self.has, FILES), *self.names(*FOLDERS)]

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or ``None`` if it does not exist or cannot be read."""
        try:
            return (self.root / name).read_bytes() if self.has(name) else None
        except OSError as error:
            self.unreadable[name] = f"{name}: {error.strerror}"
            return None

    def text(self, name: str) -> str:
        """Return the text of a file, or an empty string."""
        return (self.read(name) or b"").decode("utf-8", "replace")

    def tree(self, name: str) -> ast.Module | None:
        """Return the syntax tree of a file, or ``None`` if there is none."""
        if name not in self._trees:
            content = self.read(name)
            self._trees[name] = None if content is None else self._parse(name, content)
        return self._trees[name]

    def _parse(self, name: str, content: bytes) -> ast.Module | None:
        try:
            return parse(content)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            cause = getattr(error, "msg", None) or type(error).__name__
            self.broken[name] = f"{name}{line}: does not compile ({cause}); correct it"
            return None

    def file_of(self, module: str) -> str | None:
        """Return the file of a module of the application, as in ``app/providers/__init__.py``."""
        path = module.replace(".", "/")
        return next((name for name in (f"{path}.py", f"{path}/__init__.py") if self.has(name)), None)

    def classes(self, name: str, variable: str) -> list[str]:
        """Return the names of the classes in the list ``variable`` of a file, in order, lists that it adds included.

        Raises ``Unclear``.
        """
        tree = self.tree(name)
        lists: dict[str, list[str]] = {}
        imported = imports(tree) if tree else {}

        def value(node: ast.expr) -> list[str]:
            if isinstance(node, (ast.List, ast.Tuple)):
                return [each for item in node.elts for each in _items(item, imported, value)]
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
                return value(node.left) + value(node.right)
            if isinstance(node, ast.Name) and node.id in lists:
                return lists[node.id]
            if isinstance(node, ast.Name) and node.id in imported:
                module, original = imported[node.id]
                file = self.file_of(module)
                if file and file != name:
                    return self.classes(file, original)
            raise Unclear(f"{name}:{node.lineno}")

        for node in _statements(tree.body if tree else []):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                if variable in names or isinstance(node.value, (ast.List, ast.Tuple)):
                    try:
                        lists |= dict.fromkeys(names, value(node.value))
                    except Unclear:
                        if variable in names:
                            raise
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id in lists:
                lists[node.target.id] = lists[node.target.id] + value(node.value)
            elif isinstance(node, ast.Expr) and is_about(node.value, variable):
                raise Unclear(f"{name}:{node.lineno}")
        return lists.get(variable, [])


def _items(item: ast.expr, imported: dict[str, tuple[str, str]], value: Callable[[ast.expr], list[str]]) -> list[str]:
    if isinstance(item, ast.Starred):
        return value(item.value)
    if isinstance(item, ast.Name):
        return [imported.get(item.id, ("", item.id))[1]]
    return [item.attr] if isinstance(item, ast.Attribute) else []


def is_about(node: ast.expr, variable: str) -> bool:
    """Return whether an expression calls a method of ``variable``, as in ``PROVIDERS.append(…)``."""
    function = node.func if isinstance(node, ast.Call) else None
    return (
        isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == variable
    )


def parse(content: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SyntaxWarning: an invalid escape sequence
        return ast.parse(content)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those in ``if``, ``try`` and ``with`` included."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for field in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)


def imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Return the names that a module imports with ``from … import``, to module and name."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }


def imported_modules(tree: ast.Module) -> Iterator[tuple[ast.stmt, str, str | None]]:
    """Yield each absolute import: its statement, the module, and the name that is imported from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node, node.module, alias.name) for alias in node.names)


def class_of(tree: ast.Module, name: str) -> ast.ClassDef | None:
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name)
    return next(found, None)


def members(node: ast.ClassDef) -> dict[str, str]:
    """Return the methods and variables of a class, each to its shape."""
    found = {}
    for each in node.body:
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[each.name] = shape(each)
        elif isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            found[each.targets[0].id] = shape(each.value)
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value is not None:
            found[each.target.id] = shape(each.value)
    return found


def shape(node: ast.AST) -> str:
    """Return code as text that is equal for equal code: without comments, docstrings, annotations and layout."""
    bare = ast.parse(ast.unparse(node))
    for each in ast.walk(bare):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)) and ast.get_docstring(
            each
        ):
            each.body = each.body[1:] or [ast.Pass()]
        if isinstance(each, ast.arg):
            each.annotation = None
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            each.returns = None
    return ast.dump(bare)


# -- the product ------------------------------------------------------------------------------------------------------


@cache
def product_file(module: str) -> Path | None:
    path = PRODUCT.parent.joinpath(*module.split("."))
    found = (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
    return next(found, None)


@cache
def product_names(module: str) -> frozenset[str]:
    """Return the names that can be imported from a module of the product, which is not imported here."""
    file = product_file(module)
    if file is None:
        return frozenset()
    names = {path.stem for path in file.parent.glob("*") if file.name == "__init__.py"}
    for node in _statements(parse(file.read_bytes()).body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
            if "MODULES" in {getattr(target, "id", None) for target in targets} and isinstance(node.value, ast.Dict):
                names |= set(ast.literal_eval(node.value))  # names that __getattr__ of zuplo_origin.services imports
    return frozenset(names)


def where_defined(name: str) -> str | None:
    """Return the module of the product that defines a class or function, if there is just one."""
    modules = []
    for file in sorted(PRODUCT.rglob("*.py")):
        parts = file.relative_to(PRODUCT).with_suffix("").parts
        if {"template", "__pycache__"} & set(parts):
            continue
        for node in parse(file.read_bytes()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
                modules.append(".".join([PRODUCT.name, *(part for part in parts if part != "__init__")]))
    return modules[0] if len(modules) == 1 else None
