"""What this API is, for programs."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request


class OpenApiController(Controller):
    """For whoever generates clients, tests, or a gateway's routes."""

    def show(self, request: Request) -> Any:
        """Describe the API (OpenAPI 3.1): every route, its guard and its scopes."""
        return request.app.make("openapi").document()
