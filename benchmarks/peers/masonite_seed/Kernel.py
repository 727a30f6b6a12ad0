from masonite.configuration import Configuration
from masonite.routes import Route

from app.middlewares.JWTAuthMiddleware import JWTAuthMiddleware


class Kernel:
    def __init__(self, app):
        self.application = app

    def register(self):
        self.application.bind("config.location", "config")
        configuration = Configuration(self.application)
        configuration.load()
        self.application.bind("config", configuration)
        self.application.bind("controllers.location", "app/controllers")
        self.application.make("middleware").add({"jwt": [JWTAuthMiddleware]})
        Route.set_controller_locations("app/controllers")
        from routes.web import ROUTES

        self.application.make("router").add(Route.group(ROUTES))
