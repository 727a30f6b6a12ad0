"""``craft protected:make``."""

from pathlib import Path

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.generator import BadBlueprint, Blueprint, UnknownForm, with_route
from zuplo_origin.http.errors import HttpException

ROUTES = "routes/web.py"


class ProtectedMakeCommand(PlainCommand):
    """
    Make a guarded controller, its route and its test

    protected:make
        {name : The controller's name, as in Orders}
        {--path= : The route's path; the name's by default}
        {--scope= : The scopes that a caller needs, separated by commas; none by default}
    """

    def handle(self) -> int:
        root = Path(self.app.base_path)
        try:
            blueprint = Blueprint.of(self.argument("name"), self.option("path"), self.option("scope") or "")
            self._check_free(root, blueprint)
            routes = with_route((root / ROUTES).read_text(encoding="utf-8"), blueprint.imported, blueprint.route)
            (root / blueprint.controller_file).write_text(blueprint.controller_text(), encoding="utf-8")
            (root / blueprint.test_file).write_text(blueprint.test_text(), encoding="utf-8")
            (root / ROUTES).write_text(routes, encoding="utf-8")
        except UnknownForm as error:
            self.line_error(f"protected:make: {ROUTES}: {error}. Nothing was made. By hand it would be:\n")
            self.line_error(f"{blueprint.imported}\n\n    {blueprint.route}")
            return 1
        except (BadBlueprint, OSError, UnicodeDecodeError) as error:
            self.line_error(f"protected:make: {error}")
            return 1
        self.line(f"made  {blueprint.controller_file}")
        self.line(f"made  {blueprint.test_file}")
        self.line(f"added {ROUTES}: {blueprint.route}")
        self.line(f"\nWrite what callers come for in {blueprint.controller}.show, and say so in its test. Try it:\n")
        self.line(f"    python -m pytest {blueprint.test_file}")
        return 0

    def _check_free(self, root: Path, blueprint: Blueprint) -> None:
        """Raise ``BadBlueprint`` where something of it is there already."""
        for file in (blueprint.controller_file, blueprint.test_file):
            if (root / file).exists():
                raise BadBlueprint(f"{file} is there already, and is not overwritten")
            if not (root / file).parent.is_dir():
                raise BadBlueprint(f"there is no folder for {file}")
        try:
            route, _ = self.app.make("router").match(blueprint.example, "GET")
        except HttpException:
            return
        if route.url == blueprint.path:
            raise BadBlueprint(f"there is a route for GET {blueprint.path} already")
        raise BadBlueprint(f"GET {blueprint.path} is taken by the route {route.url} already, which stands before it")
