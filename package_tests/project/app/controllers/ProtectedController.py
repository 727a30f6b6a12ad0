from masonite.controllers import Controller
from masonite.request import Request


class ProtectedController(Controller):
    def show(self, request: Request):
        """Return the claims of the caller's token."""
        return {"message": "Access granted", "user": request.user()}
