"""The application: Masonite's container, with bindings that belong to one request alone."""

import os
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from inspect import Parameter, isclass, ismethod, signature
from typing import Any, cast

from masonite.exceptions import StrictContainerException
from masonite.foundation.Application import Application as MasoniteApplication

REQUEST_BINDINGS = frozenset({"environ", "request", "response"})
"""Keys that are never looked up outside the request that bound them."""

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


@lru_cache(maxsize=1024)
def _parameters(function: Any, bound: bool) -> list[tuple[str, Parameter]]:
    return list(signature(function).parameters.items())[1 if bound else 0 :]


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
