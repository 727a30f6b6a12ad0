"""``craft protected:make``."""

from pathlib import Path

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.generator import GuardedRoute, InvalidRoute, UnsupportedRoutesFile, add_route
from zuplo_origin.http.errors import HttpException

ROUTES = "routes/web.py"


class ProtectedMakeCommand(PlainCommand):
    """
    Create a guarded controller, its route and its test

    protected:make
        {name : The name of the controller, as in Orders}
        {--path= : The path of the route; the default is the name}
        {--scope= : The scopes that the route requires, separated by commas}
    """

    def handle(self) -> int:
        root = Path(self.app.base_path)
        try:
            route = GuardedRoute.parse(self.argument("name"), self.option("path"), self.option("scope") or "")
            self._check_free(root, route)
            routes = add_route((root / ROUTES).read_text(encoding="utf-8"), route.import_line, route.route_line)
            (root / route.controller_file).write_text(route.controller_text(), encoding="utf-8")
            (root / route.test_file).write_text(route.test_text(), encoding="utf-8")
            (root / ROUTES).write_text(routes, encoding="utf-8")
        except UnsupportedRoutesFile as error:
            self.fail(f"{ROUTES}: {error}. No file was written. Add these lines yourself:\n")
            self.line_error(f"{route.import_line}\n\n    {route.route_line}")
            return 1
        except (InvalidRoute, OSError, UnicodeDecodeError) as error:
            return self.fail(error)
        self.line(f"created {route.controller_file}")
        self.line(f"created {route.test_file}")
        self.line(f"updated {ROUTES}: {route.route_line}")
        self.line(f"\nEdit {route.controller}.show and its test, and run it:\n")
        self.line(f"    python -m pytest {route.test_file}")
        return 0

    def _check_free(self, root: Path, route: GuardedRoute) -> None:
        """Raise ``InvalidRoute`` if a file or a route of that name exists already."""
        for file in (route.controller_file, route.test_file):
            if (root / file).exists():
                raise InvalidRoute(f"{file} exists already")
            if not (root / file).parent.is_dir():
                raise InvalidRoute(f"the folder of {file} does not exist")
        try:
            existing, _ = self.app.make("router").match(route.example, "GET")
        except HttpException:
            return
        if existing.url == route.path:
            raise InvalidRoute(f"the route GET {route.path} exists already")
        raise InvalidRoute(f"GET {route.path} matches the existing route {existing.url} already")
