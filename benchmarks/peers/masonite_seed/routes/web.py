from masonite.routes import Route

from app.controllers.ProtectedController import ProtectedController

ROUTES = [Route.get("/protected", ProtectedController.show).middleware("jwt")]
