"""The routes. `.middleware("jwt")` accepts verified tokens only; `"jwt:read:orders"` asks for a scope as well."""

from masonite.routes import Route

from app.controllers.HealthController import HealthController
from app.controllers.ProtectedController import ProtectedController
from zuplo_origin.controllers import MetricsController, OpenApiController, ResourceMetadataController

ROUTES = [
    Route.get("/protected", ProtectedController.show).middleware("jwt"),
    Route.get("/health/live", HealthController.live),
    Route.get("/health/ready", HealthController.ready),
    Route.get("/openapi.json", OpenApiController.show),
]

# added if METRICS_ENABLED is set and METRICS_PORT is not
METRICS = [
    Route.get("/metrics", MetricsController.show),
]

# added if PUBLIC_URL is set: OAuth 2.0 Protected Resource Metadata (RFC 9728)
METADATA = [
    Route.get("/.well-known/oauth-protected-resource", ResourceMetadataController.show),
]
