"""Controllers for `routes/web.py`: API description, resource metadata and metrics."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response

from zuplo_origin.jwks.fetch import is_acceptable_url


class OpenApiController(Controller):
    """The OpenAPI 3.1 description of this API."""

    def show(self, request: Request) -> Any:
        """Return the routes, their guards and their scopes."""
        return request.app.make("openapi").document()


class ResourceMetadataController(Controller):
    """OAuth 2.0 Protected Resource Metadata (RFC 9728)."""

    def show(self, request: Request) -> Any:
        """Return the issuers of tokens for this API, and its scopes."""
        settings = request.app.make("settings")
        scopes = {scope for each in request.app.make("openapi").operations() for scope in each.scopes or ()}
        servers = [issuer.name for issuer in settings.issuers if is_acceptable_url(issuer.name)]  # RFC 8414, section 2
        metadata = {
            "resource": settings.public_url,
            "resource_name": request.app.make("config").get("application.name"),
            "bearer_methods_supported": ["header"],
        }
        metadata |= {"authorization_servers": servers} if servers else {}
        return metadata | ({"scopes_supported": sorted(scopes)} if scopes else {})


class MetricsController(Controller):
    """Metrics for Prometheus."""

    def show(self, request: Request, response: Response) -> Any:
        """Return the metrics of all processes as Prometheus text."""
        from zuplo_origin.observability.metrics import exposition  # only if enabled: its library takes memory

        text, kind = exposition(request.app.make("metrics").registry)
        response.header("Content-Type", kind)
        response.json_text(text)
        return response
