"""Finding the route of a request: whole, literally, and without trying one route after another."""

from typing import Any

from masonite.routes import Router as MasoniteRouter
from masonite.utils.collections import flatten

from app.exceptions.HttpException import HttpException

from .Middlewares import Middlewares
from .RoutePattern import RouteError, RoutePattern, RouteTree


class Router(MasoniteRouter):
    """The routes. Of several that match, the one registered first is taken, as in Masonite.

    A path is compared as it is: ``/orders/`` is not ``/orders``, and a dot stands for itself. What cannot work is said
    as a route is added, not when the first client asks for it.
    """

    def __init__(self, middlewares: Middlewares) -> None:
        self._middlewares = middlewares
        self._routes: list[Any] = []
        self._tree: RouteTree | None = None
        super().__init__()

    @property
    def routes(self) -> list[Any]:
        return self._routes

    @routes.setter
    def routes(self, routes: list[Any]) -> None:
        self._routes, self._tree = routes, None

    def add(self, *routes: Any) -> None:
        """Register routes, one or lists of them; ``RouteError`` where one cannot work."""
        added = flatten(list(routes))
        for route in added:
            self._check(route)
        self.routes = [*self._routes, *added]

    def set(self, *routes: Any) -> None:
        """Register routes in place of those there were."""
        self.routes = []
        self.add(*routes)

    def match(self, path: str, method: str) -> tuple[Any, dict[str, Any]]:
        """Return the route for ``method`` and ``path``, and the path's parameters in their order.

        Raises ``HttpException``: 404 where no route has the path, 405 with ``Allow`` where none of them has the method.
        """
        if self._tree is None:
            self._tree = RouteTree(self._routes)
        wanted, allowed = method.lower(), set()
        for pattern, values in self._tree.find(path):
            methods = pattern.route.request_method
            try:
                parameters = pattern.parameters(values)
            except ValueError:
                continue  # the route asks for a cast that these values do not allow
            if wanted in methods and method.isupper():
                return pattern.route, parameters
            allowed.update(methods)
        if not allowed:
            raise HttpException(404)
        listed = ", ".join(sorted(name.upper() for name in {*allowed, "options"}))
        raise HttpException(405, headers={"Allow": listed})

    def find(self, path: str, request_method: str, subdomain: str | None = None) -> Any:
        """Return the route alone, ``None`` where there is none (Masonite's contract)."""
        try:
            return self.match(path, request_method)[0]
        except HttpException as exception:
            if exception.status == 404:
                return None
            raise

    def _check(self, route: Any) -> None:
        RoutePattern(0, route)
        if route._domain is not None:
            raise RouteError(f"{route.url}: routes of a domain are not supported")
        controller = route.controller_instance or route.controller_class
        if route.e or not callable(getattr(controller, route.controller_method or "", None)):
            raise RouteError(f"{route.url}: there is no controller action {route.controller!r}")
        for specification in route.get_middlewares():
            self._middlewares.classes_for(specification)
