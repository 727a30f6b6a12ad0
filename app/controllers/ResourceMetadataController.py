"""What this origin tells clients of itself."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request


class ResourceMetadataController(Controller):
    """OAuth 2.0 Protected Resource Metadata (RFC 9728). Registered where PUBLIC_URL says what clients call this API."""

    def show(self, request: Request) -> Any:
        """Tell who issues tokens for this API, and which scopes there are (RFC 9728, section 2)."""
        settings = request.app.make("settings")
        scopes = {scope for each in request.app.make("openapi").operations() for scope in each.scopes or ()}
        told = {
            "resource": settings.public_url,
            "resource_name": request.app.make("config").get("application.name"),
            "authorization_servers": [issuer.name for issuer in settings.issuers],
            "bearer_methods_supported": ["header"],
        }
        return told | ({"scopes_supported": sorted(scopes)} if scopes else {})
