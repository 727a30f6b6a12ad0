"""Which middleware runs for a route, and with which arguments."""

from typing import Any

from masonite.exceptions import RouteMiddlewareNotFound
from masonite.middleware import MiddlewareCapsule


class Middlewares(MiddlewareCapsule):
    """The registered middleware.

    A route names them as ``"jwt"`` or ``"jwt:read:orders,write:orders"``: a key of the Kernel's, and arguments behind
    the first colon. Arguments are taken as they stand: in Masonite's own, one with ``@`` is read out of what the
    client sent, and one with a colon is an error of every request.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, tuple[list[type], tuple[str, ...]]] = {}

    def add(self, middleware: Any) -> "Middlewares":
        self._known = {}
        super().add(middleware)
        return self

    def remove(self, middleware: Any) -> "Middlewares":
        self._known = {}
        super().remove(middleware)
        return self

    def classes_for(self, specification: str) -> tuple[list[type], tuple[str, ...]]:
        """Return the classes behind ``specification`` and the arguments for them.

        Raises ``RouteMiddlewareNotFound`` for a key that the Kernel does not register, or registers nothing under.
        """
        known = self._known.get(specification)
        if known is not None:
            return known
        key, _, arguments = specification.partition(":")
        found = self.route_middleware.get(key)
        classes = found if isinstance(found, list) else [found]
        if not classes or None in classes:
            raise RouteMiddlewareNotFound(f"no middleware is registered in the Kernel under the key '{key}'")
        self._known[specification] = classes, tuple(arguments.split(",")) if arguments else ()
        return self._known[specification]

    def run_route_middleware(
        self, middlewares: list[str], request: Any, response: Any, callback: str = "before"
    ) -> bool:
        """Run ``callback`` of each; ``False`` as soon as one does not hand the request on."""
        for specification in middlewares:
            classes, arguments = self.classes_for(specification)
            for middleware in classes:
                if getattr(middleware(), callback)(request, response, *arguments) is not request:
                    return False
        return True

    def run_http_middleware(self, request: Any, response: Any, callback: str = "before") -> bool:
        """The same for those that run for every request, whether it has a route or not."""
        return all(getattr(middleware(), callback)(request, response) is request for middleware in self.http_middleware)
