"""Applications of a few routes, on the foundation alone."""

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route

from app.providers.ExceptionProvider import ExceptionProvider
from zuplo_origin.http.application import Application
from zuplo_origin.http.kernel import FrameworkKernel


class EchoController(Controller):
    """Says what it sees."""

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
        response.cookie("session", "of-somebody")
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
    """A middleware that notes its calls."""

    calls: list = []  # noqa: RUF012

    def before(self, request, response, *arguments):
        self.calls.append(("before", *arguments))
        return request

    def after(self, request, response, *arguments):
        self.calls.append(("after", *arguments))
        return request


class Silent:
    """A middleware that stops a request and says nothing."""

    def before(self, request, response):
        return None

    def after(self, request, response):
        return request


class SilentlyFalse(Silent):
    def before(self, request, response):
        return False


MIDDLEWARE = {"probe": [Probe], "silent": [Silent], "false": SilentlyFalse, "nothing": []}


def application(*routes, http_middleware=()):
    """An application with `routes`, or with one of each kind."""
    Probe.calls = []
    made = Application("/nowhere")
    made.register_providers(FrameworkKernel)
    made.make("middleware").add(MIDDLEWARE).add(list(http_middleware))
    made.add_providers(ExceptionProvider)
    made.make("router").add(list(routes) or [Route.get("/plain", EchoController.plain)])
    return made
