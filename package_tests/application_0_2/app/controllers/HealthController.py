"""Health checks: whether the process runs, and whether it can verify tokens."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response

from zuplo_origin.health import readiness
from zuplo_origin.openapi import responds


class HealthController(Controller):
    """Health checks for load balancers, orchestrators and the gateway."""

    def live(self) -> Any:
        """Return 200 while the process responds."""
        return {"status": "ok"}

    @responds(200)
    @responds(503, dict, "The server is `unavailable` or `draining`")
    def ready(self, request: Request, response: Response) -> Any:
        """Return `ok`, or `degraded` if some issuers have no usable keys; with 503, `unavailable` or `draining`."""
        status = "draining" if request.app.has("draining") else readiness(request.app)
        return response.json({"status": status}, status=200 if status in ("ok", "degraded") else 503)
