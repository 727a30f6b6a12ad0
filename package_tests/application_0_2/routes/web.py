"""The routes. `.middleware("jwt")` requires a verified token, `.middleware("jwt:read:orders")` also a scope."""

from masonite.routes import Route

from app.controllers.BooksController import BooksController
from app.controllers.HealthController import HealthController
from app.controllers.InvoicesController import InvoicesController
from app.controllers.ProtectedController import ProtectedController
from zuplo_origin.controllers import MetricsController, OpenApiController, ResourceMetadataController

ROUTES = [
    Route.get("/books", BooksController.index).middleware("jwt:read:books"),
    Route.post("/books", BooksController.store).middleware("jwt:write:books", "body:1KB"),
    Route.get("/books/@id:int", BooksController.show).middleware("jwt", "claims:role=reader|admin"),
    Route.put("/books.csv", BooksController.load).middleware("jwt"),
    Route.get("/books.csv", BooksController.export).middleware("jwt"),
    Route.get("/me", BooksController.owner).middleware("jwt"),
    Route.get("/protected", ProtectedController.show).middleware("jwt"),
    Route.get("/health/live", HealthController.live).middleware("public"),
    Route.get("/health/ready", HealthController.ready).middleware("public"),
    Route.get("/openapi.json", OpenApiController.show).middleware("public"),
    Route.get("/invoices", InvoicesController.index).middleware("jwt:read:invoices"),
    Route.get("/invoices/@id:int", InvoicesController.show).middleware("jwt:read:invoices"),
    Route.post("/invoices", InvoicesController.store).middleware("jwt:write:invoices"),
    Route.put("/invoices/@id:int", InvoicesController.update).middleware("jwt:write:invoices"),
    Route.delete("/invoices/@id:int", InvoicesController.destroy).middleware("jwt:write:invoices"),
]

# Added if METRICS_ENABLED is True and METRICS_PORT is not set.
METRICS = [
    Route.get("/metrics", MetricsController.show).middleware("public"),
]

# OAuth 2.0 Protected Resource Metadata (RFC 9728). Added if PUBLIC_URL is set.
METADATA = [
    Route.get("/.well-known/oauth-protected-resource", ResourceMetadataController.show).middleware("public"),
]
