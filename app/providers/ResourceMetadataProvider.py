"""Tells clients of this origin."""

from urllib.parse import urlsplit

from masonite.routes import Route

from app.controllers.ResourceMetadataController import ResourceMetadataController
from app.foundation.Provider import Provider
from app.settings.Settings import METADATA


class ResourceMetadataProvider(Provider):
    """Adds the route of the metadata (RFC 9728, section 3.1), and the one that a path in PUBLIC_URL makes of it."""

    def register(self) -> None:
        if not self.application.has("settings"):
            return
        url = self.application.make("settings").resource_metadata
        if url is not None:
            routes = [Route.get(path, ResourceMetadataController.show) for path in {METADATA, urlsplit(url).path}]
            self.application.make("router").add(*routes)
