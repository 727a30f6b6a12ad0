"""How a request is named: by words of this application, and never by a client's."""

from typing import Any

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def method_of(request: Any) -> str:
    """Return the method, ``other`` for one that no route could have."""
    method: str = request.environ["REQUEST_METHOD"]
    return method if method in _METHODS else "other"


def route_of(request: Any) -> str:
    """Return the route as it was registered, ``/orders/@id``; ``-`` where none was found."""
    return "-" if request.route is None else str(request.route.url)
