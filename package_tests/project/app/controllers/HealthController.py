from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response

from zuplo_origin.health import readiness


class HealthController(Controller):
    def live(self):
        return {"status": "ok"}

    def ready(self, request: Request, response: Response):
        status = "draining" if request.app.has("draining") else readiness(request.app)
        return response.json({"status": status}, status=200 if status in ("ok", "degraded") else 503)
