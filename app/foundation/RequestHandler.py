"""The way of one request through the application, and an answer at its end in every case."""

import logging
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from app.exceptions import answers
from app.exceptions.HttpException import HttpException

from .Provider import Provider
from .Request import Request
from .Response import Response

log = logging.getLogger("app")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class NoAnswer(Exception):
    """A middleware stopped a request, or an action ended, and nothing was said to the client."""


class RequestHandler:
    """A WSGI callable in the place of Masonite's ``response_handler``.

    The response is made before anything can fail, so that no error is answered with an earlier request's. Whatever is
    raised, and whatever is forgotten, the client gets an answer.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        application = self.application
        request = Request(environ)
        request.app = application
        application.bind("environ", environ)
        application.bind("request", request)
        application.bind("response", Response(application))
        try:
            self._answer(request)
        except (Exception, SystemExit) as exception:
            self._answer_error(exception)
        try:
            self._run_http_middleware(request, "after")
            status, headers, body = self._parts()
        except Exception as exception:
            self._answer_error(exception)
            status, headers, body = self._parts()
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, request: Request) -> None:
        path = request.get_path()
        if _CONTROL.search(path):
            raise HttpException(400)
        for provider in self._booting:
            self.application.resolve(provider.boot)
        if self._run_http_middleware(request, "before"):
            self._dispatch(request, self.application.make("response"), path)

    def _run_http_middleware(self, request: Request, callback: str) -> bool:
        make = self.application.make
        return make("middleware").run_http_middleware(request, make("response"), callback)  # type: ignore[no-any-return]

    def _dispatch(self, request: Request, response: Response, path: str) -> None:
        method = request.get_request_method()
        try:
            route, parameters = self.application.make("router").match(path, "GET" if method == "HEAD" else method)
        except HttpException as refused:
            if refused.status != 405 or method != "OPTIONS":
                raise
            response.with_headers(refused.headers).status(204)
            return
        request.route = route
        request.load_params(parameters)
        names = route.get_middlewares()
        middlewares = self.application.make("middleware")
        if not middlewares.run_route_middleware(names, request, response, "before"):
            return
        try:
            self._act(route, list(parameters.values()), response)
        finally:
            middlewares.run_route_middleware(names, request, response, "after")

    def _act(self, route: Any, values: list[Any], response: Response) -> None:
        resolve = self.application.resolve
        controller = route.controller_instance or resolve(route.controller_class, *route.controller_bindings)
        answered = resolve(getattr(controller, route.controller_method), *values)
        if answered is not response:
            response.view(answered)

    def _parts(self) -> tuple[str, list[tuple[str, str]], bytes]:
        response = self.application.make("response")
        if response.get_status_code() is None:
            raise NoAnswer("a middleware stopped the request without an answer")
        answers.harden(response)
        return response.get_status_code(), response.get_headers(), response.get_response_content()

    def _answer_error(self, exception: BaseException) -> None:
        """Put a fresh response in place of whatever had been begun, and fill it."""
        response = Response(self.application)
        self.application.bind("response", response)
        try:
            self.application.make("exception_handler").handle(exception)
            self._parts()
        except Exception as failed:
            log.critical("the exception handler failed", exc_info=failed)
            response = Response(self.application)
            self.application.bind("response", response)
            answers.internal_error(response)

    @cached_property
    def _booting(self) -> list[Any]:
        """The providers that have something to do for each request."""
        return [
            provider
            for provider in self.application.get_providers()
            if type(provider).boot.__module__ not in (Provider.__module__, "masonite.providers.Provider")
        ]
