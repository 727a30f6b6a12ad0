"""Applications in the test's own process, made of the product's parts. No environment variable configures them."""

import sys
from functools import lru_cache

from masonite.controllers import Controller
from masonite.loader import Loader
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route

from package_tests.project.app.controllers.HealthController import HealthController
from package_tests.project.app.controllers.ProtectedController import ProtectedController
from package_tests.project.app.middlewares.TokenMiddleware import TokenMiddleware
from package_tests.project.app.providers import PROVIDERS
from zuplo_origin.controllers import OpenApiController
from zuplo_origin.guard import ClaimsMiddleware
from zuplo_origin.http.application import Application
from zuplo_origin.http.errors import JsonExceptionHandler
from zuplo_origin.http.kernel import Configuration, FrameworkKernel
from zuplo_origin.settings import SETTINGS

from .gateway import GATEWAY

# A route finds its controller through the facade, which would import `wsgi` of the root folder. This is the loader that
# the facade returns. By its name in `sys.modules`: `masonite.routes.HTTPRoute` is the class.
sys.modules["masonite.routes.HTTPRoute"].Loader = Loader()


class EchoController(Controller):
    """Returns what it reads from the request, or fails."""

    def plain(self):
        return {"ok": True}

    def params(self, request: Request):
        return request.params

    def positional(self, first, second):
        return {"first": first, "second": second}

    def input(self, request: Request):
        return {"all": request.all(), "name": request.input("name", None), "deep": request.input("a.b", None)}

    def cookies(self, request: Request):
        return {"c0": request.cookie("c0")}

    def headers(self, request: Request):
        return {name: request.header(name) for name in ("Authorization", "X-Request-Id", "ETag", "X-Request")}

    def breaks(self):
        raise RuntimeError("a secret: " + "hunter2")

    def nothing(self):
        return None

    def half(self, response: Response):
        response.header("Content-Type", "text/csv")
        response.cookie("session", "of-another")
        raise RuntimeError("half way")

    def splits(self, response: Response):
        response.header("X-Name", "a\r\nSet-Cookie: b=c")
        return {"ok": True}

    def cached(self, response: Response):
        response.header("Cache-Control", "max-age=60")
        return {"ok": True}

    def nan(self, response: Response):
        return response.json({"n": float("nan")})


class Probe:
    """A middleware that records its calls."""

    calls: list = []  # noqa: RUF012

    def before(self, request, response, *arguments):
        self.calls.append(("before", *arguments))
        return request

    def after(self, request, response, *arguments):
        self.calls.append(("after", *arguments))
        return request


class Silent:
    """A middleware that stops a request without a response."""

    def before(self, request, response):
        return None

    def after(self, request, response):
        return request


class SilentlyFalse(Silent):
    def before(self, request, response):
        return False


MIDDLEWARE = {"probe": [Probe], "silent": [Silent], "false": SilentlyFalse, "nothing": []}


def application(*routes, http_middleware=()):
    """Return an application with `routes`, by default with `/plain`, and without settings, keys or a guard."""
    Probe.calls = []
    made = Application("/nowhere")
    made.register_providers(FrameworkKernel)
    made.make("middleware").add(MIDDLEWARE).add(list(http_middleware))
    made.bind("exception_handler", JsonExceptionHandler(made))
    made.make("router").add(list(routes) or [Route.get("/plain", EchoController.plain)])
    return made


@lru_cache
def project_application(**settings):
    """Return the application of `package_tests/project`, which accepts the tokens of `GATEWAY`."""
    made = Application("/nowhere")
    made.register_providers(FrameworkKernel)
    usual = {"JWT_ISSUER": GATEWAY.name, "JWT_AUDIENCE": "https://api.test/*,orders-api"}
    made.bind("config", configuration(**usual | settings))
    made.make("middleware").add({"jwt": [TokenMiddleware], "claims": [ClaimsMiddleware]})
    made.make("router").add(
        Route.get("/protected", ProtectedController.show).middleware("jwt"),
        Route.get("/health/live", HealthController.live),
        Route.get("/health/ready", HealthController.ready),
        Route.get("/openapi.json", OpenApiController.show),
    )
    made.add_providers(*PROVIDERS)
    return made


def configuration(**settings):
    """Return a configuration with `settings`, by the names of their variables, and the defaults of all others."""
    made = Configuration(None)
    usual = {"APP_ENV": "testing", "JWT_ALGORITHMS": "EdDSA,RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512"}
    for name, setting in SETTINGS.items():
        made.set(setting.path, (usual | settings).get(name, setting.default))
    made.set("application.version", "1.0.0")
    return made
