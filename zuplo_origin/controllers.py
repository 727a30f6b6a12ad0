"""Controllers of the product, for routes/web.py."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response


class OpenApiController(Controller):
    """The OpenAPI 3.1 description, for generators of clients, tests and gateway routes."""

    def show(self, request: Request) -> Any:
        """Describe the API: every route, its guard and its scopes."""
        return request.app.make("openapi").document()


class ResourceMetadataController(Controller):
    """OAuth 2.0 Protected Resource Metadata (RFC 9728), for clients of the gateway."""

    def show(self, request: Request) -> Any:
        """List the issuers of tokens for this API, and its scopes."""
        settings = request.app.make("settings")
        scopes = {scope for each in request.app.make("openapi").operations() for scope in each.scopes or ()}
        metadata = {
            "resource": settings.public_url,
            "resource_name": request.app.make("config").get("application.name"),
            "authorization_servers": [issuer.name for issuer in settings.issuers],
            "bearer_methods_supported": ["header"],
        }
        return metadata | ({"scopes_supported": sorted(scopes)} if scopes else {})


class MetricsController(Controller):
    """Metrics for Prometheus."""

    def show(self, request: Request, response: Response) -> Any:
        """Return the metrics of all processes."""
        from zuplo_origin.observability.metrics import exposition  # its library takes memory

        text, kind = exposition(request.app.make("metrics").registry)
        response.header("Content-Type", kind)
        response.json_text(text)
        return response
