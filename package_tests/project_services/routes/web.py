"""A route for each service, behind the guard."""

from app.controllers.ServicesController import ServicesController
from masonite.routes import Route

from app.controllers.HealthController import HealthController
from app.controllers.ProtectedController import ProtectedController

ROUTES = [
    Route.get("/health/live", HealthController.live).middleware("public"),
    Route.get("/health/ready", HealthController.ready).middleware("public"),
    Route.get("/protected", ProtectedController.show).middleware("jwt"),
    Route.post("/validate", ServicesController.validate).middleware("jwt"),
    Route.get("/validator", ServicesController.bound).middleware("jwt"),
    Route.get("/gate/@owner", ServicesController.gate).middleware("jwt").name("named"),
    Route.get("/gate/@owner/authorize", ServicesController.authorize).middleware("jwt"),
    Route.get("/archive", ServicesController.archive).middleware("jwt"),
    Route.get("/entry", ServicesController.entry).middleware("jwt"),
    Route.get("/count/@name", ServicesController.count).middleware("jwt"),
    Route.get("/remember/@name", ServicesController.remember).middleware("jwt"),
    Route.get("/value/@name", ServicesController.value).middleware("jwt"),
    Route.get("/limited/all", ServicesController.limited).middleware("jwt", "throttle:40/day"),
    Route.get("/limited/caller", ServicesController.limited).middleware("jwt", "throttle:caller"),
    Route.get("/limited/account", ServicesController.limited).middleware("jwt", "throttle:account"),
    Route.get("/limited/address", ServicesController.limited).middleware("throttle:address"),
    Route.get("/limited/twice", ServicesController.limited).middleware("jwt", "throttle:1000/day", "throttle:3/hour"),
    Route.get("/event", ServicesController.event).middleware("jwt"),
    Route.get("/failing-event", ServicesController.failing_event).middleware("jwt"),
    Route.get("/hash", ServicesController.hash).middleware("jwt"),
    Route.get("/sign", ServicesController.sign).middleware("jwt"),
    Route.get("/cookie", ServicesController.cookie).middleware("jwt"),
    Route.get("/log", ServicesController.log).middleware("jwt"),
    Route.get("/compact", ServicesController.compact).middleware("jwt"),
    Route.get("/url", ServicesController.url).middleware("jwt"),
]
