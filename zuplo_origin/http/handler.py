"""From a WSGI environ to a response, and the framework's start."""

import importlib
import logging
import os
import pkgutil
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from time import perf_counter
from typing import Any

from masonite.configuration import Configuration as MasoniteConfiguration
from masonite.foundation.CoreKernel import CoreKernel
from masonite.loader import Loader

from .context import HEADER, REQUEST_ID, TRACE_ID, trace_id
from .errors import HttpException, hardened, internal_error
from .requests import MAX_BODY, Request
from .responses import Response
from .routing import Middlewares, Router
from .streams import Stream


class Provider:
    """What Masonite's own ``Provider`` is, to the letter of its contract.

    Importing that one imports every provider of the framework (mail, queues, the ORM): 8 MiB in each process.
    Providers that inherit from it work here just as well.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    def register(self) -> None:
        """Bind services: called once, as the process starts."""

    def boot(self) -> None:
        """Prepare a request: called for each one, before its route is looked up."""


class Configuration(MasoniteConfiguration):
    """Masonite's configuration, found wherever the process was started, and with import errors left as they are."""

    def load(self) -> None:
        """Read every module of the package that ``config.location`` names: ``LEEWAY`` in ``jwt`` is ``jwt.leeway``."""
        package = importlib.import_module(self.application.make("config.location"))
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for name, value in vars(module).items():
                if name.isupper() and not name.startswith("_"):
                    self.set(f"{found.name}.{name.lower()}", value)


log = logging.getLogger("zuplo_origin")

RequestObserver = Callable[[Request, int, float], None]

REQUEST = "zuplo_origin.request"
"""The environ key of the request that ``admit`` has made."""
STREAM_SLOTS = "zuplo_origin.stream_slots"
"""The environ key of the semaphore of open streams, from a server that limits them."""
BODY_ERROR = "zuplo_origin.body_error"
"""The environ key of the status with which a server reports that a body did not arrive."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class NoAnswer(Exception):
    """A middleware stopped a request, or an action ended, and nothing was said to the client."""


class RequestHandler:
    """A WSGI callable in the place of Masonite's ``response_handler``.

    The response is made before anything can fail, so that no error is answered with an earlier request's. Whatever is
    raised, and whatever is forgotten, the client gets an answer. ``observers`` are told of each afterwards: of the
    request, the status and the seconds that it took.
    """

    def __init__(self, application: Any, router: Router, middlewares: Middlewares) -> None:
        self.application, self._router, self._middlewares = application, router, middlewares
        self.observers: list[RequestObserver] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = perf_counter()
        application = self.application
        request, response = environ.pop(REQUEST, None) or Request(environ), Response(application)
        request.app = application
        named, traced = REQUEST_ID.set(request.id), TRACE_ID.set(trace_id(environ))
        bindings = application.objects  # not bind(): its hooks and its checks are for what lives longer
        bindings["environ"], bindings["request"], bindings["response"] = environ, request, response
        try:
            self._answer(request, response)
        except (Exception, SystemExit) as exception:
            self._answer_error(exception)
        stream = None
        try:
            response = application.make("response")
            if self._middlewares.http_middleware:
                self._middlewares.run_http_middleware(request, response, "after")
                response = application.make("response")
            status, headers, body = self._parts(response)
            if response.streamed is not None:
                stream = self._stream(request, response.streamed, int(status[:3]), began)
        except Exception as exception:
            status, headers, body = self._parts(self._answer_error(exception))
        if request.has_own_id:
            headers.append((HEADER, request.id))
        start_response(status, headers)
        if stream is None:
            self._tell(request, int(status[:3]), perf_counter() - began)
        REQUEST_ID.reset(named)
        TRACE_ID.reset(traced)
        if stream is not None:
            return stream
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _stream(self, request: Request, chunks: Iterable[Any], status: int, began: float) -> Stream | None:
        """Return the stream of ``chunks``, its first one produced; ``None`` for HEAD.

        Raises ``HttpException`` 503 when the limit of open streams is reached. Observers are called at the end.
        """
        slots = request.environ.get(STREAM_SLOTS)
        is_head = request.environ["REQUEST_METHOD"] == "HEAD"
        if is_head or (slots and not slots.acquire(blocking=False)):
            if hasattr(chunks, "close"):
                chunks.close()
            if is_head:
                return None
            raise HttpException(503, headers={"Retry-After": "1"})
        has_started = False

        def at_end(size: int, is_complete: bool) -> None:
            if slots:
                slots.release()
            if has_started:
                request.streamed = size, is_complete
                self._tell(request, status, perf_counter() - began)

        stream = Stream(chunks, at_end)
        try:
            stream.start()
        except BaseException:
            stream.close()
            raise
        has_started = True
        return stream

    def admit(self, environ: dict[str, Any]) -> int | None:
        """Return the bytes that the body of a request may have; ``None`` when it is answered without its body.

        Only the middleware of its route that looks at nothing but headers is run (``before_body = True``). The request
        is kept in ``environ``, with what that middleware found out.
        """
        request, response = Request(environ), Response(self.application)
        request.app = self.application
        environ[REQUEST] = request
        named, traced = REQUEST_ID.set(request.id), TRACE_ID.set(trace_id(environ))
        bindings = self.application.objects
        bindings["environ"], bindings["request"], bindings["response"] = environ, request, response
        try:
            route, _ = self._router.match(request.get_path(), request.get_request_method())
            for specification in route.get_middlewares():
                classes, arguments = self._middlewares.classes_for(specification)
                for middleware in classes:
                    if not getattr(middleware, "before_body", False):
                        continue
                    if middleware().before(request, response, *arguments) is not request:
                        return None
        except Exception:  # it is raised again, and answered, when the request is
            return None
        finally:
            REQUEST_ID.reset(named)
            TRACE_ID.reset(traced)
        return MAX_BODY

    def _tell(self, request: Request, status: int, seconds: float) -> None:
        try:
            for observe in self.observers:
                observe(request, status, seconds)
        except Exception:
            log.exception("an observer of requests broke")

    def _answer(self, request: Request, response: Response) -> None:
        path = request.get_path()
        if _CONTROL.search(path):
            raise HttpException(400)
        for provider in self._booting:
            self.application.resolve(provider.boot)
        middlewares = self._middlewares
        if not middlewares.http_middleware or middlewares.run_http_middleware(request, response, "before"):
            self._dispatch(request, response, path)

    def _dispatch(self, request: Request, response: Response, path: str) -> None:
        method = request.get_request_method()
        try:
            route, parameters = self._router.match(path, "GET" if method == "HEAD" else method)
        except HttpException as refused:
            if refused.status != 405 or method != "OPTIONS":
                raise
            response.with_headers(refused.headers).status(204)
            return
        request.route, request.params = route, parameters
        names = route.get_middlewares()
        if not names:
            self._act(route, parameters, response)
            return
        run = self._middlewares.run_route_middleware
        if not run(names, request, response, "before"):
            return
        try:
            self._act(route, parameters, response)
        except (Exception, SystemExit) as exception:
            response = self._answer_error(exception)
        run(names, request, response, "after")

    def _act(self, route: Any, parameters: dict[str, Any], response: Response) -> None:
        request = self.application.make("request")
        if BODY_ERROR in request.environ:
            raise HttpException(request.environ[BODY_ERROR])
        resolve = self.application.resolve
        controller = route.controller_instance or resolve(route.controller_class, *route.controller_bindings)
        answered = resolve(getattr(controller, route.controller_method), *parameters.values())
        if answered is not response:
            response.view(answered)

    def _parts(self, response: Response) -> tuple[str, list[tuple[str, str]], bytes]:
        status = response.get_status_code()
        if status is None:
            raise NoAnswer("a middleware stopped the request without an answer")
        return status, hardened(response), response.get_response_content()

    def _answer_error(self, exception: BaseException) -> Response:
        """Put a fresh response in place of whatever had been begun, and return it filled."""
        response = self._fresh_response()
        try:
            self.application.make("exception_handler").handle(exception)
            response = self.application.make("response")
            self._parts(response)
        except Exception as failed:
            log.critical("the exception handler failed", exc_info=failed)
            response = self._fresh_response()
            internal_error(response)
        return response

    def _fresh_response(self) -> Response:
        response = Response(self.application)
        self.application.objects["response"] = response
        return response

    @cached_property
    def _booting(self) -> list[Any]:
        """The providers that have something to do for each request."""
        return [
            provider
            for provider in self.application.get_providers()
            if type(provider).boot.__module__ not in (Provider.__module__, "masonite.providers.Provider")
        ]


class FrameworkKernel(CoreKernel):
    """Registers the request handler, the router and the middleware; for ``craft``, the registry of commands too.

    The environment is what the process was started with: only ``craft`` reads ``.env``, before this.
    """

    def load_environment(self) -> None:
        """Leave the environment as it is (Masonite's own lets ``.env`` override it)."""

    def register_framework(self) -> None:
        self.application.use_storage_path(os.path.join(self.application.base_path, "storage"))

    def register_capsules(self) -> None:
        middlewares = Middlewares()
        router = Router(middlewares)
        self.application.bind("middleware", middlewares)
        self.application.bind("router", router)
        handler = RequestHandler(self.application, router, middlewares)
        self.application.bind("observers", handler.observers)
        self.application.set_response_handler(handler)
        self.application.bind("loader", Loader())
        if self.application.is_running_in_console() or self.application.is_running_tests():
            self.register_console()

    def register_console(self) -> None:
        """Bind the registry of craft commands. A server needs none: 7 MiB in each process."""
        from cleo.application import Application as CommandApplication
        from masonite import __version__
        from masonite.commands import CommandCapsule

        self.application.bind("commands", CommandCapsule(CommandApplication("Masonite", __version__)))
