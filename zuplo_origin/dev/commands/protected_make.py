"""``craft protected:make``."""

import os
from contextlib import ExitStack, suppress
from pathlib import Path

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.generator import GuardedRoute, InvalidRoute, UnsupportedRoutesFile, add_routes
from zuplo_origin.http.errors import HttpException
from zuplo_origin.http.routing import label

ROUTES = "routes/web.py"


class ProtectedMakeCommand(PlainCommand):
    """
    Create a guarded controller, its routes and its tests

    protected:make
        {name : The name of the controller, as in Orders, order-lines or Admin/Orders}
        {--path= : The path of the route; the default is the name}
        {--scope= : The scopes that the route requires, separated by commas}
        {--m|method= : The method of the route: GET (the default), POST, PUT, PATCH or DELETE}
        {--r|resource : Create index, show, store, update and destroy; a scope read:x is write:x for the last three}
    """

    def handle(self) -> int:
        root = Path(self.app.base_path)
        try:
            scopes, method = self.option("scope") or "", self.option("method")
            route = GuardedRoute.parse(
                self.argument("name"), self.option("path"), scopes, method, bool(self.option("resource"))
            )
            self._check_free(root, route)
            before = (root / ROUTES).read_bytes().decode("utf-8")
            routes = add_routes(before, route.import_line, route.route_lines, route.imported)
            write(root, {route.controller_file: route.controller_text(), route.test_file: route.test_text()}, routes)
        except UnsupportedRoutesFile as error:
            self.fail(f"{ROUTES}: {error}. No file was written. Add these lines yourself:\n")
            self.line_error("\n".join([route.import_line, "", *route.route_lines]))
            return 1
        except (InvalidRoute, OSError, UnicodeDecodeError) as error:
            return self.fail(error)
        self.line(f"created {route.controller_file}")
        self.line(f"created {route.test_file}")
        self.line("\n".join([f"updated {ROUTES}:", *route.route_lines]))
        self.line(f"\nEdit {route.controller} and its tests, and run them:\n")
        self.line(f"    python -m pytest {route.test_file}")
        return 0

    def _check_free(self, root: Path, route: GuardedRoute) -> None:
        """Raise ``InvalidRoute`` if a file or a route of that name exists already."""
        for file in (route.controller_file, route.test_file):
            if os.path.lexists(root / file):
                raise InvalidRoute(f"{file} exists already")
        for folder in ("app/controllers", "tests"):
            if not (root / folder).is_dir():
                raise InvalidRoute(f"the folder {folder} does not exist")
        router = self.app.make("router")
        for action in route.actions:
            same = router.collision(action.as_route)
            if same is not None:
                raise InvalidRoute(f"{action.method} {action.path}: the route {label(same)} exists already")
            with suppress(HttpException):
                existing, _ = router.match(action.example, action.method)
                if not existing.url.endswith(":any"):  # a fallback is used last
                    raise InvalidRoute(
                        f"{action.method} {action.path}: the existing route {label(existing)} matches it already"
                    )


def write(root: Path, files: dict[str, str], routes: str) -> None:
    """Create ``files`` and replace the routes file. If any of it fails, nothing is left changed.

    Raises ``OSError``. A file is created whole: it has its text before it has its name.
    """
    target = Path(os.path.realpath(root / ROUTES))  # a link stays a link
    with ExitStack() as undo:
        pending = {}
        for name, text in files.items():
            _make_packages(root, Path(name).parent, undo)
            pending[root / name] = _temporary(root / name, text, undo)
        replacement = _temporary(target, routes, undo)
        replacement.chmod(target.stat().st_mode & 0o777)
        for file, temporary in pending.items():
            os.link(temporary, file)  # fails if the file exists, unlike a rename
            undo.callback(file.unlink)
        os.replace(replacement, target)
        undo.pop_all()
        for temporary in pending.values():
            temporary.unlink()


def _temporary(file: Path, text: str, undo: ExitStack) -> Path:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    undo.callback(temporary.unlink, missing_ok=True)
    temporary.write_bytes(text.encode("utf-8"))
    return temporary


def _make_packages(root: Path, folder: Path, undo: ExitStack) -> None:
    """Create the folders above a controller, each with an ``__init__.py``."""
    for package in reversed([folder, *folder.parents]):
        if not (root / package).is_dir():
            (root / package).mkdir()
            undo.callback((root / package).rmdir)
            (root / package / "__init__.py").touch()
            undo.callback((root / package / "__init__.py").unlink)
