"""Stock Masonite with a guarded ``/protected`` and no more, for comparison."""

from jose import jwt
from jose.exceptions import JOSEError
from masonite.configuration import Configuration
from masonite.foundation import Application, Kernel
from masonite.middleware import Middleware
from masonite.providers import ExceptionProvider, FrameworkProvider, RouteProvider
from masonite.request import Request
from masonite.routes import Route

SECRET = "k" * 32


class BearerMiddleware(Middleware):
    def before(self, request, response):
        _, _, token = (request.header("Authorization") or "").partition(" ")
        try:
            request.set_user(jwt.decode(token, SECRET, algorithms=["HS256"]))
        except JOSEError:
            return response.json({"error": "No token provided"}, status=401)
        return request

    def after(self, request, response):
        return request


class ProtectedController:
    def show(self, request: Request):
        return {"user": request.user()}


class AppKernel:
    def __init__(self, app):
        self.application = app

    def register(self):
        self.application.bind("config.location", "config")
        configuration = Configuration(self.application)
        configuration.load()
        self.application.bind("config", configuration)
        self.application.bind("controllers.location", "controllers")
        self.application.make("middleware").add({"jwt": [BearerMiddleware]})
        self.application.make("router").add([Route.get("/protected", ProtectedController.show).middleware("jwt")])


application = Application(".")
application.register_providers(Kernel, AppKernel)
application.add_providers(FrameworkProvider, RouteProvider, ExceptionProvider)
