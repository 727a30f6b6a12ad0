"""The parameters of actions and of controllers' constructors: what fills them, and an error at start if nothing can."""

import sys
from inspect import Parameter, getattr_static, isabstract, isclass, isfunction
from typing import Any, NamedTuple

from .requests import Request
from .responses import Response
from .routing import RouteError, RoutePattern, label
from .typed import is_made_from_request, is_model

PASSED = (str, int, dict, list, tuple)
"""Annotations of parameters that take an argument and are never looked up, as in Masonite."""
_OF_REQUESTS = (Request, Response, dict)
"""Classes of what is bound for each request; ``dict`` is the environ."""
_BINDING = frozenset({"bind", "simple", "singleton", "scoped", "swap", "objects"})


class Unfilled(NamedTuple):
    """A parameter that nothing fills, and what its author can do."""

    name: str
    advice: str


def check_parameters(application: Any) -> None:
    """Raise ``RouteError`` for the first route with a parameter that nothing can fill.

    Called once, after the application is loaded: what providers and ``wsgi.py`` bind is known. A class that a
    middleware, or ``boot`` of a provider, may bind for each request is not an error.
    """
    for order, route in enumerate(application.make("router").routes):
        may_bind = _binds_for_requests(application, route)
        if (message := problem(application, route, order, may_bind)) is not None:
            raise RouteError(message)


def problem(application: Any, route: Any, order: int = 0, may_bind: bool = False) -> str | None:
    """Return a line about the parameter that nothing fills; ``None`` if there is none."""
    arguments = sum(part.literal is None for part in RoutePattern(order, route).parts)
    instance = route.controller_instance  # the class, if the action is a classmethod
    controller = route.controller_class or (instance if isclass(instance) else type(instance))
    action = getattr(instance or controller, route.controller_method)
    is_unbound = isfunction(action) and isfunction(getattr_static(controller, route.controller_method, None))
    check = _Check(application, may_bind, route.model)
    found = check.unfilled(action, arguments, skip=1 if is_unbound and instance is None else 0)
    where = route.controller_method
    if found is None and instance is None:
        found, where = check.unfilled(controller, len(route.controller_bindings)), "__init__"
    if found is None:
        return None
    name = f"{controller.__name__}.{where}"
    return f"{label(route)}: {name}: nothing fills the parameter '{found.name}'; {found.advice}"


class _Check:
    def __init__(self, application: Any, may_bind: bool, model: Any) -> None:
        self._application, self._may_bind, self._model = application, may_bind, model

    def unfilled(self, called: Any, arguments: int, skip: int = 0, making: tuple[Any, ...] = ()) -> Unfilled | None:
        """Return the first parameter of ``called`` that nothing fills, if it is passed ``arguments`` arguments."""
        try:
            parameters = list(self._application.get_parameters(called))[skip:]
        except (TypeError, ValueError):  # without a signature, such as a class in C
            return Unfilled("…", "bind an object") if making else None
        left, skipped = arguments, None
        for name, parameter in parameters:
            has_default = parameter.default is not Parameter.empty
            if parameter.kind is Parameter.VAR_POSITIONAL:
                continue
            if parameter.kind is Parameter.KEYWORD_ONLY:
                return Unfilled(name, "parameters after * are not filled; move it before the *")
            takes = parameter.annotation in PASSED or isinstance(parameter.annotation, str)
            if takes or (parameter.annotation is Parameter.empty and not has_default and "self" not in name):
                if not takes and self._application.resolve_parameters:
                    if name in self._application.objects or self._may_bind:
                        continue
                    return Unfilled(name, "bind an object under this name")
                if left:
                    left -= 1
                    continue
                if not has_default:
                    return Unfilled(name, _advice(name))
                skipped = skipped or Unfilled(name, "it is filled by the next one; move it to the end")
                continue
            if isclass(parameter.annotation) and parameter.annotation is not Parameter.empty:
                advice = self._lack(parameter.annotation, arguments, making)
                if advice is not None:
                    return Unfilled(name, advice)
            if skipped is not None:
                return skipped
        return None

    def _lack(self, wanted: type, arguments: int, making: tuple[Any, ...]) -> str | None:
        """Return why no object of class ``wanted`` can be injected; ``None`` if one can."""
        application, name = self._application, wanted.__name__
        if is_made_from_request(wanted) or (wanted is self._model and not making):
            return None
        if wanted in application.swaps or any(issubclass(each, wanted) for each in _OF_REQUESTS):
            return None
        if any(issubclass(kind, wanted) for kind, _ in application.objects.scoped.values()):
            return None
        bound = next((each for each in application.objects.values() if _is_a(each, wanted)), None)
        if bound is not None and not isclass(bound):
            return None
        made = wanted if bound is None else bound
        if bound is None and wanted.__module__ == "builtins":
            return f"nothing is bound for {name}; annotate a parameter of the route with str or int, or not at all"
        if self._may_bind:
            return None
        if is_model(made):
            return f"the model {name} is read as the only model of an action, and not within another class"
        if made in making or isabstract(made) or getattr(made, "_is_protocol", False):
            return f"add the provider that binds {name} to config/providers.py"
        if bound is None and made.__module__.partition(".")[0] in sys.stdlib_module_names:
            return None if _can_be_made(made) else f"nothing is bound for {name}; bind it in a provider"
        inner = self.unfilled(made, 0 if made.__module__.startswith("masonite.") else arguments, making=(*making, made))
        if inner is None:
            return None
        return f"add the provider that binds {name} to config/providers.py ({name}({inner.name}) is not filled either)"


def _advice(name: str) -> str:
    return f"add @{name} to the URL of the route, or annotate it with the class of a service"


def _is_a(value: Any, wanted: type) -> bool:
    return issubclass(type(value), wanted) or (isclass(value) and issubclass(value, wanted))


def _can_be_made(kind: Any) -> bool:
    try:
        kind()
    except Exception:
        return False
    return True


def _binds_for_requests(application: Any, route: Any) -> bool:
    """Return whether a middleware of ``route``, or ``boot`` of a provider, may bind objects for each request."""
    middlewares = application.make("middleware")
    if booting(application):
        return True
    classes = [each for name in route.get_middlewares() for each in middlewares.classes_for(name)[0]]
    classes += middlewares.http_middleware
    return any(_may_bind(each) for each in classes)


def booting(application: Any) -> list[Any]:
    """Return the providers that override ``boot``."""
    idle = (f"{__package__}.kernel", "masonite.providers.Provider")
    return [each for each in application.get_providers() if type(each).boot.__module__ not in idle]


def _may_bind(middleware: type) -> bool:
    """Return whether a middleware may bind something: it does so itself, or calls code of the project."""
    for base in middleware.__mro__:
        if base.__module__.partition(".")[0] in ("zuplo_origin", "masonite", "builtins"):
            continue
        for each in vars(base).values():
            code = getattr(each, "__code__", None)
            if code is None:
                continue
            if _BINDING & set(code.co_names):
                return True
            used = (each.__globals__[name] for name in code.co_names if name in each.__globals__)
            if any(_package(value) not in ("zuplo_origin", "masonite", "builtins") for value in used):
                return True
    return False


def _package(value: Any) -> str:
    module = getattr(value, "__module__", None) or getattr(value, "__name__", "")
    return str(module).partition(".")[0]
