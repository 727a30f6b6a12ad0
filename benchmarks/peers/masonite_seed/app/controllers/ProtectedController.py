from masonite.request import Request
from masonite.response import Response


class ProtectedController:
    def show(self, request: Request, response: Response):
        return response.json({"message": "Access granted", "user": request.user})
