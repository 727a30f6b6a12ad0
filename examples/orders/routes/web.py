"""The routes. `.middleware("jwt:read:orders")` requires a verified token with that scope, `claims:sub` the claim."""

from masonite.routes import Route

from app.controllers.AdminOrdersController import AdminOrdersController
from app.controllers.FilesController import FilesController
from app.controllers.HealthController import HealthController
from app.controllers.OrdersController import OrdersController
from app.controllers.PaymentsController import PaymentsController
from zuplo_origin.controllers import MetricsController, OpenApiController, ResourceMetadataController

READ = ("jwt:read:orders", "claims:sub")
WRITE = ("jwt:write:orders", "claims:sub")

ROUTES = [
    Route.get("/orders", OrdersController.index).middleware(*READ),
    Route.post("/orders", OrdersController.store).middleware(*WRITE),
    Route.get("/orders/@id:int", OrdersController.show).middleware(*READ),
    Route.patch("/orders/@id:int", OrdersController.update).middleware(*WRITE),
    Route.delete("/orders/@id:int", OrdersController.destroy).middleware(*WRITE),
    Route.get("/orders.csv", FilesController.export).middleware(*READ),
    Route.post("/orders.csv", FilesController.store).middleware(*WRITE, "body:10MB"),
    Route.get("/admin/orders", AdminOrdersController.index).middleware("jwt", "claims:roles=admin"),
    Route.post("/webhooks/payments", PaymentsController.store).middleware("public", "signature"),
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
