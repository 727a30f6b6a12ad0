"""The application: Masonite's container, with bindings that belong to one request alone."""

import os
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from inspect import Parameter, isclass, ismethod, signature
from typing import Any, Final, cast

from masonite.exceptions import ContainerError, StrictContainerException
from masonite.foundation.Application import Application as MasoniteApplication

REQUEST_BINDINGS = frozenset({"environ", "request", "response"})
"""Keys that are never looked up outside the request that bound them."""
_INJECTED_MOST = ("request", "response")

_own: ContextVar[dict[Any, Any] | None] = ContextVar("bindings_of_this_request", default=None)


class Bindings(MutableMapping[Any, Any]):
    """The container's objects: the process's own, seen through those of the request under way, if there is one.

    What is bound while a request is under way belongs to that request, and is gone with it. A thread that a request
    starts has no request: it sees the process's bindings alone.
    """

    def __init__(self) -> None:
        self.shared: dict[Any, Any] = {}

    def __getitem__(self, key: Any) -> Any:
        own = _own.get()
        if own is not None:
            if key in own:
                return own[key]
            if key in REQUEST_BINDINGS:
                raise KeyError(key)
        return self.shared[key]

    def __contains__(self, key: Any) -> bool:
        own = _own.get()
        if own is not None:
            if key in own:
                return True
            if key in REQUEST_BINDINGS:
                return False
        return key in self.shared

    def __setitem__(self, key: Any, value: Any) -> None:
        own = _own.get()
        (self.shared if own is None else own)[key] = value

    def __delitem__(self, key: Any) -> None:
        own = _own.get()
        if own is None:
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
        # the request's own first: they are injected most. A snapshot, so that a binding made meanwhile does no harm.
        yield from list(own)
        yield from [key for key in list(self.shared) if key not in own and key not in REQUEST_BINDINGS]

    def __len__(self) -> int:
        return sum(1 for _ in self)


_ARGUMENT: Final = None
"""In a plan, the place of the next argument that is passed."""
_PASSED = (str, int, dict, list, tuple)
"""Annotations of parameters that are never looked up, as in Masonite."""


@lru_cache(maxsize=1024)
def _parameters(function: Any, bound: bool) -> list[tuple[str, Parameter]]:
    return list(signature(function).parameters.items())[1 if bound else 0 :]


@lru_cache(maxsize=1024)
def _plan(function: Any, bound: bool) -> tuple[Parameter | None, ...] | None:
    """Return what ``function`` is called with: for each place, the parameter to look up, or ``_ARGUMENT``.

    ``None`` where a parameter has a default, is named ``self``, takes any number, or has an annotation that is no
    class: such ones are left to Masonite.
    """
    plan: list[Parameter | None] = []
    for name, parameter in _parameters(function, bound):
        plain = parameter.kind is Parameter.POSITIONAL_OR_KEYWORD and parameter.default is Parameter.empty
        if not plain or "self" in name or not isclass(parameter.annotation):
            return None
        passed = parameter.annotation is Parameter.empty or parameter.annotation in _PASSED
        plan.append(_ARGUMENT if passed else parameter)
    return tuple(plan)


class Application(MasoniteApplication):
    """Masonite's application, for servers with any number of threads."""

    def __init__(self, base_path: str | None = None) -> None:
        super().__init__(base_path)
        # in Masonite these are attributes of the class, shared by every application of the process
        self.objects = Bindings()
        self.swaps: dict[Any, Any] = {}
        self._hooks: dict[str, dict[Any, Any]] = {"make": {}, "bind": {}, "resolve": {}}
        self._remembered: dict[Any, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request (PEP 3333), in a scope of bindings of its own."""
        token = _own.set({})
        try:
            return self.response_handler(environ, start_response)  # type: ignore[no-any-return]
        finally:
            _own.reset(token)

    def admit(self, environ: dict[str, Any]) -> int | None:
        """Return the bytes that the body of a request may have; ``None`` when it is answered without its body.

        For a server that receives the body before it calls the application, with the same ``environ``.
        """
        token = _own.set({})
        try:
            return self.response_handler.admit(environ)  # type: ignore[no-any-return]
        finally:
            _own.reset(token)

    def make(self, name: Any, *arguments: Any) -> Any:
        """Return what is bound under ``name``; a class, made anew (Masonite's contract)."""
        try:
            found = self.objects[name]
        except KeyError:
            return super().make(name, *arguments)
        if isclass(found) or self._hooks["make"]:
            return super().make(name, *arguments)
        return found

    def resolve(self, obj: Any, *arguments: Any) -> Any:
        """Call ``obj`` with what its parameters' annotations name, and ``arguments`` in the places of the others.

        As in Masonite, which reads every signature anew for each call: that alone costs more than a signature's check.
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

    def _injected(self, parameter: Parameter, arguments: tuple[Any, ...]) -> Any:
        own = _own.get()
        if own and not self.swaps and not self._hooks["resolve"]:
            for key in _INJECTED_MOST:
                if key in own and isinstance(own[key], parameter.annotation):
                    return own[key]
        try:
            found = self._find_annotated_parameter(parameter)
        except ContainerError:
            found = parameter.annotation
        return self.resolve(found, *arguments) if isclass(found) else found

    def get_parameters(self, obj: Any) -> Any:
        """Return the parameters of ``obj`` as ``(name, Parameter)`` pairs: looked up once, for they never change."""
        if ismethod(obj):
            return _parameters(obj.__func__, True)
        if isclass(obj):
            return _parameters(cast(Any, obj), False)
        return super().get_parameters(obj)

    def is_running_in_console(self) -> bool:
        """Whether this process is a ``craft`` command, ``craft serve`` included."""
        return os.path.basename(sys.argv[0]) == "craft"
