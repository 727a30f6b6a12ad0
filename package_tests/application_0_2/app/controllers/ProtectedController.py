"""An example of a controller behind the guard, to copy."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request


class ProtectedController(Controller):
    """The verified caller."""

    def show(self, request: Request) -> Any:
        """Return the verified claims of the caller's token."""
        return {"message": "Access granted", "user": request.user()}
