"""The development console's routes: registered by `craft serve`, in development alone."""

from masonite.routes import Route

from app.controllers.ConsoleController import ConsoleController

ROUTES = [
    Route.get("/", ConsoleController.page),
    Route.get("/console/state", ConsoleController.state).middleware("console"),
    Route.post("/console/token", ConsoleController.token).middleware("console"),
    Route.post("/console/send", ConsoleController.send).middleware("console"),
]
