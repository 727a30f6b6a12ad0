"""The routes. `.middleware("jwt")` requires a verified token, `.middleware("jwt:read:orders")` also a scope."""

from masonite.routes import Route

from app.controllers.HealthController import HealthController
from app.controllers.ProtectedController import ProtectedController
from zuplo_origin.controllers import MetricsController, OpenApiController, ResourceMetadataController

ROUTES = [
    Route.get("/protected", ProtectedController.show).middleware("jwt"),
    Route.get("/health/live", HealthController.live).middleware("public"),
    Route.get("/health/ready", HealthController.ready).middleware("public"),
    Route.get("/openapi.json", OpenApiController.show).middleware("public"),
]

# Added if METRICS_ENABLED is True and METRICS_PORT is not set.
METRICS = [
    Route.get("/metrics", MetricsController.show).middleware("public"),
]

# OAuth 2.0 Protected Resource Metadata (RFC 9728). Added if PUBLIC_URL is set.
METADATA = [
    Route.get("/.well-known/oauth-protected-resource", ResourceMetadataController.show).middleware("public"),
]
