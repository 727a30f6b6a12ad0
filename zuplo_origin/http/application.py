"""The application: Masonite's container, with bindings for each request, and the request lifecycle."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property, lru_cache
from inspect import Parameter, isclass, isfunction, ismethod, isroutine
from threading import current_thread, main_thread
from time import perf_counter
from types import UnionType
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin

from masonite.exceptions import ContainerError, StrictContainerException
from masonite.foundation.Application import Application as MasoniteApplication

from .actions import check_content_type
from .content import check_framing
from .errors import HttpException, error, internal_error
from .injection import PASSED, booting, problem
from .requests import REQUEST_ID, REQUEST_ID_HEADER, TRACE_ID, Request, trace_id
from .responses import Response
from .routing import Middlewares, Router
from .streams import Stream
from .typed import is_made_from_request, read_model, signature_of

log = logging.getLogger("zuplo_origin")

REQUEST_BINDINGS = frozenset({"environ", "request", "response"})
"""Keys that are never looked up outside the request that bound them."""
_INJECTED_MOST = ("request", "response")


class Scope(dict[Any, Any]):
    """The objects of one request, job or task, and the functions to call at its end."""

    def __init__(self) -> None:
        super().__init__()
        self._endings: list[Callable[[], Any]] = []

    def at_end(self, ending: Callable[[], Any]) -> None:
        self._endings.append(ending)

    def end(self) -> None:
        """Call the functions passed to ``at_end``, the last one first. An exception is logged, and stops no other."""
        while self._endings:
            try:
                self._endings.pop()()
            except BaseException as exception:
                _raise_if_stopping(exception)
                log.exception("unhandled_exception", extra={"fields": {"during": "scope_end"}})


_own: ContextVar[Scope | None] = ContextVar("request_bindings", default=None)


class Bindings(MutableMapping[Any, Any]):
    """The container's objects: those of the process, overlaid with those of the current request.

    An object that is bound during a request belongs to that request and ends with it. A thread that a request starts
    has no current request: it sees the objects of the process only.
    """

    def __init__(self) -> None:
        self.shared: dict[Any, Any] = {}
        self.scoped: dict[Any, tuple[type, Callable[[], Any]]] = {}
        """For each scoped key: the class of its objects, and the function that creates one."""

    def __getitem__(self, key: Any) -> Any:
        own = _own.get()
        if own is not None:
            if key in own:
                return own[key]
            if key in REQUEST_BINDINGS:
                raise KeyError(key)
        if key in self.scoped:
            created = self.scoped[key][1]()
            if own is not None:
                own[key] = created
            return created
        return self.shared[key]

    def __contains__(self, key: Any) -> bool:
        own = _own.get()
        if own is not None:
            if key in own:
                return True
            if key in REQUEST_BINDINGS:
                return False
        return key in self.shared or key in self.scoped

    def __setitem__(self, key: Any, value: Any) -> None:
        own = _own.get()
        if own is None:
            self.scoped.pop(key, None)
            self.shared[key] = value
        else:
            own[key] = value

    def __delitem__(self, key: Any) -> None:
        own = _own.get()
        if own is None:
            if self.scoped.pop(key, None) is None:
                del self.shared[key]
        elif key in own:
            del own[key]
        else:
            raise StrictContainerException(f"'{key}' is bound for the whole process: a request cannot unbind it")

    def __iter__(self) -> Iterator[Any]:
        own = _own.get()
        if own is None:
            yield from list(self.shared)
            return
        # the request's own keys first, because they are injected most; a copy, because other threads may bind meanwhile
        yield from list(own)
        yield from [key for key in list(self.shared) if key not in own and key not in REQUEST_BINDINGS]

    def __len__(self) -> int:
        return sum(1 for _ in self)


_ARGUMENT: Final = None
"""Marks, in a plan, a parameter that takes the next positional argument."""


@lru_cache(maxsize=1024)
def _parameters(function: Any, bound: bool) -> list[tuple[str, Parameter]]:
    """Return the parameters that can be filled, with annotations that are classes, or texts that cannot be evaluated.

    Masonite takes ``int | None`` and ``Any`` for services, and passes the defaults of those after ``*`` by position.
    """
    filled = [
        parameter.replace(annotation=_looked_up(parameter.annotation))
        for parameter in list(signature_of(function).parameters.values())[1 if bound else 0 :]
        if parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        and not (parameter.kind is Parameter.KEYWORD_ONLY and parameter.default is not Parameter.empty)
    ]
    return [(parameter.name, parameter) for parameter in filled]


def _looked_up(annotation: Any) -> Any:
    """Return the class to look up for ``annotation``; ``str`` if the parameter takes an argument."""
    if get_origin(annotation) is Annotated:
        return _looked_up(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [_looked_up(each) for each in get_args(annotation) if each is not type(None)]
        return next((each for each in kinds if each not in PASSED), str)
    if isinstance(annotation, str) or (
        isclass(annotation) and get_origin(annotation) is None and annotation is not Any
    ):
        return annotation
    return str


@lru_cache(maxsize=1024)
def _plan(function: Any, bound: bool) -> tuple[Parameter | None, ...] | None:
    """Return, for each parameter of ``function``, the parameter to look up, or ``_ARGUMENT``.

    Return ``None``, so that Masonite resolves the call, if a parameter has a default, is named ``self``, is variadic,
    or has an annotation that is not a class.
    """
    plan: list[Parameter | None] = []
    for name, parameter in _parameters(function, bound):
        plain = parameter.kind is Parameter.POSITIONAL_OR_KEYWORD and parameter.default is Parameter.empty
        if not plain or "self" in name or not isclass(parameter.annotation):
            return None
        passed = parameter.annotation is Parameter.empty or parameter.annotation in PASSED
        plan.append(_ARGUMENT if passed else parameter)
    return tuple(plan)


class NoCommands:
    """The registry of craft commands in a server: it keeps none. Masonite's providers add commands to it."""

    def add(self, *commands: Any) -> "NoCommands":
        return self


class Application(MasoniteApplication):
    """Masonite's application, safe under threads: a WSGI callable and a container."""

    def __init__(self, base_path: str | None = None) -> None:
        super().__init__(base_path)
        # in Masonite these are attributes of the class, shared by all applications of a process
        self.objects = Bindings()
        self.swaps: dict[Any, Any] = {}
        self._hooks: dict[str, dict[Any, Any]] = {"make": {}, "bind": {}, "resolve": {}}
        self._remembered: dict[Any, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Respond to one request (PEP 3333), with bindings of its own."""
        token = _own.set(Scope())
        try:
            return self.response_handler(environ, start_response)  # type: ignore[no-any-return]
        finally:
            _own.reset(token)

    def admit(self, environ: dict[str, Any]) -> int | None:
        """Return the largest body in bytes that the request may have; ``None`` if its response needs no body.

        A server that receives bodies itself calls this first, and the application later with the same ``environ``.
        """
        with self.scope():
            return self.response_handler.admit(environ)  # type: ignore[no-any-return]

    def wrap_handler(self, around: Callable[[Any], Any]) -> None:
        """Replace the request handler by ``around(handler)``, a function that calls ``handler`` for each request."""
        inner = self.response_handler
        outer = around(inner)
        outer.admit = inner.admit
        self.set_response_handler(outer)

    def add_providers(self, *providers: Any) -> "Application":
        """Register ``providers``, each once, in this order. Exit if one of them, or a middleware, cannot be used."""
        from zuplo_origin.faults import problems_with_order, problems_with_providers
        from zuplo_origin.services.rejected import stop_if_rejected
        from zuplo_origin.services.start import complete, stop

        if not self.has("commands"):
            self.bind("commands", NoCommands())
        stop(problems_with_providers(providers))
        providers = tuple(dict.fromkeys(providers))  # parts of a list may name the same one
        stop_if_rejected(providers, self._middleware())
        bound_settings = None
        for number, provider in enumerate(providers):
            super().add_providers(provider)
            if bound_settings is None and (self.has("settings") or self.has("settings.problems")):
                bound_settings = number
        stop(problems_with_order([each.__name__ for each in providers], bound_settings))
        stop_if_rejected((), self._middleware())  # those that providers have added
        complete(self, self._middleware())
        return self

    def _middleware(self) -> list[Any]:
        return self.make("middleware").classes() if self.has("middleware") else []

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """Open a scope for a job, a task or a command: bindings of its own, as a request has them."""
        scope = Scope()
        token = _own.set(scope)
        try:
            yield scope
        finally:
            scope.end()
            _own.reset(token)

    @staticmethod
    def current_scope() -> Scope | None:
        """Return the scope of the current request, job or task; ``None`` outside one, as in a thread of one's own."""
        return _own.get()

    def scoped(self, key: Any, kind: type, create: Callable[[], Any]) -> None:
        """Bind ``key`` to an object of class ``kind`` for each scope, created at its first use.

        Outside a scope each lookup creates an object. ``bind`` with the same key replaces the binding.
        """
        self.objects.scoped[key] = kind, create

    def make(self, name: Any, *arguments: Any) -> Any:
        """Return the object bound under ``name``; a new instance if a class is bound (Masonite's contract)."""
        try:
            found = self.objects[name]
        except KeyError:
            return super().make(name, *arguments)
        if isclass(found) or self._hooks["make"]:
            return super().make(name, *arguments)
        return found

    def resolve(self, obj: Any, *arguments: Any) -> Any:
        """Call ``obj``: inject the parameters that are annotated with a class, and pass ``arguments`` for the others.

        Masonite inspects the signature for each call, which costs more than the verification of a token's signature.
        """
        plan = None
        if ismethod(obj):
            plan = _plan(obj.__func__, True)
        elif isclass(obj):
            plan = _plan(cast(Any, obj), False)
        if plan is None or plan.count(_ARGUMENT) != len(arguments):
            return super().resolve(obj, *arguments)
        passed = iter(arguments)
        return obj(*[next(passed) if step is _ARGUMENT else self._injected(step, arguments) for step in plan])

    def from_request(self, model: Any) -> Any:
        """Return the instance of ``model`` that its ``__from_request__`` makes, once for each request."""
        objects: Any = self.objects
        made = objects.get(model)
        if type(made) is not model:
            made = model.__from_request__(self.make("request"))
            if type(made) is not model:
                raise TypeError(f"{model.__qualname__}.__from_request__ returned an object of another class")
            objects[model] = made
        return made

    def _injected(self, parameter: Parameter, arguments: tuple[Any, ...]) -> Any:
        own = _own.get()
        if own and not self.swaps and not self._hooks["resolve"]:
            for key in _INJECTED_MOST:
                if key in own and isinstance(own[key], parameter.annotation):
                    return own[key]
        if is_made_from_request(parameter.annotation) and parameter.annotation not in self.swaps:
            return self.from_request(parameter.annotation)  # never made with its defaults
        try:
            found = self._find_annotated_parameter(parameter)
        except ContainerError:
            found = parameter.annotation
        return self.resolve(found, *arguments) if isclass(found) else found

    def _find_annotated_parameter(self, parameter: Parameter) -> Any:
        if parameter.annotation in self.swaps:
            swapped = self.swaps[parameter.annotation]
            if not isroutine(swapped) and not isclass(swapped):  # Masonite would call a mock
                return swapped
            return super()._find_annotated_parameter(parameter)
        if is_made_from_request(parameter.annotation):
            return self.from_request(parameter.annotation)
        key = self._scoped_key(parameter.annotation)
        return super()._find_annotated_parameter(parameter) if key is None else self.objects[key]

    def _find_obj(self, obj: Any) -> Any:
        key = self._scoped_key(obj)
        return super()._find_obj(obj) if key is None else self.objects[key]

    def _scoped_key(self, wanted: Any) -> Any:
        """Return the key of the scoped binding whose objects are of class ``wanted``; ``None`` if there is none."""
        if isclass(wanted):
            for key, (kind, _) in self.objects.scoped.items():
                if issubclass(kind, wanted):
                    return key
        return None

    def get_parameters(self, obj: Any) -> Any:
        """Return the parameters of ``obj`` as ``(name, Parameter)`` pairs, inspected once."""
        if ismethod(obj):
            return _parameters(obj.__func__, True)
        if isclass(obj) or isfunction(obj):
            return _parameters(cast(Any, obj), False)
        return super().get_parameters(obj)

    def is_running_in_console(self) -> bool:
        """Return whether this process runs a ``craft`` command, ``craft serve`` included."""
        return os.path.basename(sys.argv[0]) == "craft"


RequestObserver = Callable[[Request, int, float], None]
"""Called after each response with the request, the status, and the duration in seconds."""

REQUEST = "zuplo_origin.request"
"""The environ key of the request that ``admit`` has made."""
STREAM_SLOTS = "zuplo_origin.stream_slots"
"""The environ key of the semaphore of open streams, from a server that limits them."""
BODY_ERROR = "zuplo_origin.body_error"
"""The environ key of the status with which a server reports that a body did not arrive."""
_CONTENT_HEADERS = ("content-length", "content-type")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _raise_if_stopping(exception: BaseException) -> None:
    """Raise ``exception`` again if it is meant for the process: Ctrl+C reaches the main thread only.

    In a thread of a server, ``KeyboardInterrupt`` and the like come from an action: they are unhandled exceptions.
    """
    if not isinstance(exception, Exception | SystemExit) and current_thread() is main_thread():
        raise exception


class MissingResponseError(Exception):
    """A middleware stopped a request, or an action returned, without a response."""


class RequestHandler:
    """The request lifecycle: a WSGI callable in place of Masonite's ``response_handler``.

    Every request gets a response, also if its action, a middleware or the exception handler raises. ``observers`` are
    called after each response.
    """

    def __init__(self, application: Application, router: Router, middlewares: Middlewares) -> None:
        self.application, self._router, self._middlewares = application, router, middlewares
        self.observers: list[RequestObserver] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = perf_counter()
        application = self.application
        # the response is made first: an error would otherwise be written into an earlier request's response
        request, response = environ.pop(REQUEST, None) or Request(environ), Response(application)
        request.app = application
        outer_id, outer_trace = REQUEST_ID.set(request.id), TRACE_ID.set(trace_id(environ))
        bindings = application.objects  # bind() would run hooks and checks that are meant for services
        bindings["environ"], bindings["request"], bindings["response"] = environ, request, response
        try:
            self._respond(request, response)
        except BaseException as exception:
            self._respond_with_error(exception)
        stream = None
        try:
            response = application.make("response")
            if self._middlewares.http_middleware:
                self._middlewares.run_http_middleware(request, response, "after")
                response = application.make("response")
            status, headers, body = self._parts(response)
            if response.streamed is not None:
                stream = self._stream(request, response.streamed, int(status[:3]), began)
        except BaseException as exception:
            status, headers, body = self._parts(self._respond_with_error(exception))
        if request.has_own_id:
            headers.append((REQUEST_ID_HEADER, request.id))
        start_response(status, headers)
        if stream is None:
            self._notify(request, int(status[:3]), perf_counter() - began)
            self._close(request)
        REQUEST_ID.reset(outer_id)
        TRACE_ID.reset(outer_trace)
        if stream is not None:
            return stream
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def admit(self, environ: dict[str, Any]) -> int | None:
        """Return the largest body in bytes that the request may have; ``None`` if its response needs no body.

        Runs the middleware of the route that needs the headers only (``before_body = True``). The request is kept in
        ``environ``, with what that middleware has set.
        """
        request, response = Request(environ), Response(self.application)
        request.app = self.application
        environ[REQUEST] = request
        outer_id, outer_trace = REQUEST_ID.set(request.id), TRACE_ID.set(trace_id(environ))
        bindings = self.application.objects
        bindings["environ"], bindings["request"], bindings["response"] = environ, request, response
        try:
            if self._gateway is not None and not self._gateway.accepts(request):
                return None
            check_framing(environ)
            route, _ = self._match(request, request.get_path(), request.get_request_method())
            for specification in route.get_middlewares():
                classes, arguments = self._middlewares.classes_for(specification)
                for middleware in classes:
                    if not getattr(middleware, "before_body", False):
                        continue
                    if middleware().before(request, response, *arguments) is not request:
                        return None
            if route.accepted_types:
                check_content_type(route.accepted_types, environ)
        except BaseException as exception:  # the call of the application raises it again, and responds
            _raise_if_stopping(exception)
            return None
        finally:
            REQUEST_ID.reset(outer_id)
            TRACE_ID.reset(outer_trace)
        request.route = route
        return request.body_limit

    def _respond(self, request: Request, response: Response) -> None:
        if self._gateway is not None and not self._gateway.accepts(request):
            error(response, 401, name="Not from the gateway")
            return
        check_framing(request.environ)
        path = request.get_path()
        if _CONTROL.search(path):
            raise HttpException(400, reason="the path contains a control character")
        for provider in self._booting:
            self.application.resolve(provider.boot)
        middlewares = self._middlewares
        if not middlewares.http_middleware or middlewares.run_http_middleware(request, response, "before"):
            self._dispatch(request, response, path)

    def _dispatch(self, request: Request, response: Response, path: str) -> None:
        method = request.get_request_method()
        try:
            route, parameters = self._match(request, path, "GET" if method == "HEAD" else method)
        except HttpException as exception:
            if exception.status != 405 or method != "OPTIONS":
                raise
            response.with_headers(exception.headers).status(204)
            return
        request.route, request.params = route, parameters
        names = route.get_middlewares()
        if not names:
            self._run_action(route, parameters, response)
            return
        run = self._middlewares.run_route_middleware
        if not run(names, request, response, "before"):
            return
        try:
            self._run_action(route, parameters, response)
        except BaseException as exception:
            response = self._respond_with_error(exception)
        run(names, request, response, "after")

    def _match(self, request: Request, path: str, method: str) -> tuple[Any, dict[str, Any]]:
        if request.has_encoded_slash():
            raise HttpException(404, reason="the path contains an encoded slash (%2F)")
        return self._router.match(path, method)

    def _run_action(self, route: Any, parameters: dict[str, Any], response: Response) -> None:
        request = self.application.make("request")
        if BODY_ERROR in request.environ:
            raise HttpException(request.environ[BODY_ERROR])
        for model in route.request_models:  # before the body is read
            if model not in self.application.swaps:
                self.application.from_request(model)
        if route.accepted_types:
            check_content_type(route.accepted_types, request.environ)
        resolve = self.application.resolve
        try:
            controller = route.controller_instance or resolve(route.controller_class, *route.controller_bindings)
            action = getattr(controller, route.controller_method)
            if route.model is not None:
                self.application.objects[route.model] = read_model(route.model, request)
            if route.success_status is not None:
                response.status(route.success_status)
            returned = resolve(action, *parameters.values())
        except ContainerError as error:  # Masonite's message does not name the parameter
            message = problem(self.application, route)
            raise error if message is None else ContainerError(message) from error
        if returned is not response:
            response.view(returned)

    def _stream(self, request: Request, chunks: Iterable[Any], status: int, began: float) -> Stream | None:
        """Return the stream of ``chunks`` with its first one produced; ``None`` for HEAD.

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
                self._close(request)
                request.streamed = size, is_complete
                self._notify(request, status, perf_counter() - began)

        stream = Stream(chunks, at_end)
        try:
            stream.start()
        except BaseException:
            stream.close()
            raise
        has_started = True
        return stream

    def _parts(self, response: Response) -> tuple[str, list[tuple[str, str]], bytes]:
        status = response.get_status_code()
        if status is None:
            raise MissingResponseError("a middleware stopped the request without a response")
        headers, body = response.get_hardened_headers(), response.get_response_content()
        if status[:3] in ("204", "304"):  # without content (RFC 9110, section 6.4.1)
            return status, [each for each in headers if each[0].lower() not in _CONTENT_HEADERS], b""
        return status, headers, body

    def _respond_with_error(self, exception: BaseException) -> Response:
        """Replace the response, which may be half filled, with the error response for ``exception``, and return it."""
        _raise_if_stopping(exception)
        response = self._fresh_response()
        try:
            self.application.make("exception_handler").handle(exception)
            response = self.application.make("response")
            self._parts(response)
        except BaseException as failure:
            _raise_if_stopping(failure)
            # its traceback contains the exception that was being handled
            log.critical("exception_handler_failed", extra={"fields": {}}, exc_info=failure)
            response = self._fresh_response()
            internal_error(response)
        return response

    def _fresh_response(self) -> Response:
        response = Response(self.application)
        self.application.objects["response"] = response
        return response

    def _close(self, request: Request) -> None:
        request.close()
        if (scope := self.application.current_scope()) is not None:
            scope.end()

    def _notify(self, request: Request, status: int, seconds: float) -> None:
        for observe in self.observers:
            try:
                observe(request, status, seconds)
            except BaseException as exception:
                _raise_if_stopping(exception)
                log.exception("request_observer_failed", extra={"fields": {}})

    @cached_property
    def _gateway(self) -> Any:
        """``settings.gateway``: ``None`` if requests need no secret of the gateway."""
        return getattr(self.application.make("settings"), "gateway", None) if self.application.has("settings") else None

    @cached_property
    def _booting(self) -> list[Any]:
        return booting(self.application)
