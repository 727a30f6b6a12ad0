"""Registers configuration, middleware, routes and commands."""

from masonite.routes import Route

from app.middlewares.TokenMiddleware import TokenMiddleware
from zuplo_origin.guard import ClaimsMiddleware
from zuplo_origin.http.kernel import Configuration
from zuplo_origin.observability.logs import set_up


class Kernel:
    http_middleware = ()
    route_middleware = {"jwt": [TokenMiddleware], "claims": [ClaimsMiddleware]}  # noqa: RUF012

    def __init__(self, application):
        self.application = application

    def register(self):
        self.application.bind("config.location", "config")
        configuration = Configuration(self.application)
        configuration.load()
        self.application.bind("config", configuration)
        set_up(configuration.get("application.env"))
        self.application.make("middleware").add(self.route_middleware).add(list(self.http_middleware))
        self.application.bind("controllers.location", "app/controllers")
        Route.set_controller_locations("app/controllers")
        from routes.web import ROUTES  # here, as controllers may import `wsgi.application`

        self.application.make("router").add(Route.group(ROUTES))
        if self.application.has("commands"):
            from zuplo_origin.commands import register_commands

            register_commands(self.application)
