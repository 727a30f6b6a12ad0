"""Services that providers configure: one object while the application starts, a copy of it for each request.

Masonite documents ``Gate.define`` and others in ``boot``, which runs for each request. There, it changes the copy
alone: the object of the process does not grow, and does not change while other threads read it.
"""

from typing import Any, Protocol


class Copied(Protocol):
    """A service with ``copy``, which returns an object that can be changed without changing this one."""

    def copy(self) -> Any: ...


def bind_overlay(application: Any, key: str, shared: Copied) -> None:
    """Bind ``key`` to ``shared`` outside of requests, jobs and tasks, and to a copy of it in each of them."""

    def create() -> Any:
        return shared if application.current_scope() is None else shared.copy()

    application.scoped(key, type(shared), create)
