"""``craft routes:list``: Masonite's command, with the guard of each route."""

import re
from typing import Any

from masonite.routes.commands import RouteListCommand as MasoniteRouteListCommand
from masonite.utils.str import get_controller_name

from zuplo_origin.http.routing import BODY, PUBLIC
from zuplo_origin.openapi.description import CLAIMS, GUARD, scopes_of_route
from zuplo_origin.settings import raw_value

from .base import fail

COLUMNS = ["URI", "Method(s)", "Guard", "Scopes", "Claims", "Body limit", "Controller", "Name", "Middleware(s)"]


class RouteListCommand(MasoniteRouteListCommand):
    """
    List the routes: who may call them, and how large a body may be

    routes:list
        {--M|methods= : Filter by a list of HTTP methods: GET or GET,POST}
        {--N|name= : Filter by route name, a regular expression}
    """

    def handle(self) -> int:
        wanted = {each.strip().lower() for each in (self.option("methods") or "").split(",") if each.strip()}
        try:
            name = re.compile(self.option("name") or "", re.IGNORECASE)
        except re.error as error:
            return fail(self, f"--name: invalid regular expression: {error}")
        routes = [
            route
            for route in self.app.make("router").routes
            if (not wanted or wanted & set(route.request_method)) and name.search(route.get_name() or "")
        ]
        self.render_table(COLUMNS, sorted(self.format_route_as_row(route) for route in routes))
        return 0

    def format_route_as_row(self, route: Any) -> list[str]:
        """Return the cells of a route. ``open`` is a route that is neither guarded nor declared public."""
        specified: dict[str, list[str]] = {}
        for specification in route.get_middlewares():
            key, _, arguments = specification.partition(":")
            specified.setdefault(key, []).append(arguments)
        guarded = GUARD in specified or CLAIMS in specified
        shown = (GUARD, CLAIMS, BODY, PUBLIC)
        others = [each for each in route.get_middlewares() if each.partition(":")[0] not in shown]
        return [
            route.url,
            "/".join(method.upper() for method in route.request_method),
            GUARD if guarded else PUBLIC if PUBLIC in specified else "open",
            " ".join(scopes_of_route(route) or ()),
            " ".join(each.replace(",", " ") for each in specified.get(CLAIMS, [])),
            _size(self._default_limit() if route.body_limit is None else route.body_limit),
            get_controller_name(route.controller),
            route.get_name() or "",
            ",".join(others),
        ]

    def _default_limit(self) -> int:
        if self.app.has("settings"):
            return int(self.app.make("settings").max_body)
        stated = str(raw_value(self.app.make("config"), "MAX_BODY_BYTES"))
        return int(stated) if stated.isdecimal() else 0


def _size(limit: int) -> str:
    """Return ``limit`` as ``.middleware("body:…")`` spells it."""
    for unit, factor in (("MB", 1_048_576), ("KB", 1024)):
        if limit and limit % factor == 0:
            return f"{limit // factor}{unit}"
    return str(limit)
