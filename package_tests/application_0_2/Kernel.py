"""The application's configuration, log, middleware, routes and commands, registered when it starts."""

from typing import ClassVar

from masonite.routes import Route

from app.middlewares.JWTAuthMiddleware import JWTAuthMiddleware
from zuplo_origin.guard import ClaimsMiddleware
from zuplo_origin.http.kernel import Configuration
from zuplo_origin.observability.logs import set_up


class Kernel:
    """Registered by `wsgi.py`, after the framework's kernel and before the providers."""

    # Runs for every request, even if no route matches.
    http_middleware: ClassVar = []

    # Runs for the routes that name it: `.middleware("jwt")`.
    route_middleware: ClassVar = {
        "jwt": [JWTAuthMiddleware],
        "claims": [ClaimsMiddleware],
    }

    def __init__(self, app):
        self.application = app

    def register(self):
        self.register_configuration()
        self.register_log()
        self.register_middleware()
        self.register_routes()
        self.register_commands()

    def register_configuration(self):
        self.application.bind("config.location", "config")
        configuration = Configuration(self.application)
        configuration.load()
        self.application.bind("config", configuration)

    def register_log(self):
        set_up(self.application.make("config").get("application.env"))

    def register_middleware(self):
        self.application.make("middleware").add(self.route_middleware).add(self.http_middleware)

    def register_routes(self):
        self.application.bind("controllers.location", "app/controllers")
        Route.set_controller_locations("app/controllers")
        from routes.web import ROUTES  # not at the top: a route needs wsgi.application when it is created

        self.application.make("router").add(Route.group(ROUTES))

    def register_commands(self):
        if self.application.has("commands"):  # in craft and in tests, not in servers
            from zuplo_origin.commands import register_commands

            register_commands(self.application)
