"""The controller behind the guard: the example to copy."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request


class ProtectedController(Controller):
    """Answers with what is known of the caller."""

    def show(self, request: Request) -> Any:
        """Tell a caller who got in what their token says."""
        return {"message": "Access granted", "user": request.user()}
