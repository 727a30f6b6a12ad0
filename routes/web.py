"""The routes. `.middleware("jwt")` lets in verified tokens alone; `"jwt:read:orders"` asks for a scope too."""

from masonite.routes import Route

from app.controllers.HealthController import HealthController
from app.controllers.OpenApiController import OpenApiController
from app.controllers.ProtectedController import ProtectedController

ROUTES = [
    Route.get("/protected", ProtectedController.show).middleware("jwt"),
    Route.get("/health/live", HealthController.live),
    Route.get("/health/ready", HealthController.ready),
    Route.get("/openapi.json", OpenApiController.show),
]
