"""Registers configuration, middleware, routes and commands. Its middleware is that of the services."""

from masonite.routes import Route

from app.middlewares.TokenMiddleware import TokenMiddleware
from zuplo_origin.http.kernel import Configuration
from zuplo_origin.observability.logs import set_up
from zuplo_origin.services import CorsMiddleware, EncryptCookies, ThrottleRequestsMiddleware


class Kernel:
    http_middleware = (CorsMiddleware, EncryptCookies)
    route_middleware = {"jwt": [TokenMiddleware], "throttle": [ThrottleRequestsMiddleware]}  # noqa: RUF012

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
        from routes.web import ROUTES

        self.application.make("router").add(Route.group(ROUTES))
