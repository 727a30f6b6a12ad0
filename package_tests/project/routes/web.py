"""The routes. Tests append to this file, and `craft protected:make` adds to `ROUTES`."""

from masonite.routes import Route

from app.controllers.HealthController import HealthController
from app.controllers.ProtectedController import ProtectedController
from zuplo_origin.controllers import OpenApiController

ROUTES = [
    Route.get("/protected", ProtectedController.show).middleware("jwt"),
    Route.get("/health/live", HealthController.live).middleware("public"),
    Route.get("/health/ready", HealthController.ready).middleware("public"),
    Route.get("/openapi.json", OpenApiController.show).middleware("public"),
]
