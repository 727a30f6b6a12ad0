"""Whether the process lives, and whether it can decide on tokens."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response


class HealthController(Controller):
    """For whatever watches the process: a load balancer, an orchestrator, the gateway."""

    def live(self) -> Any:
        """Tell that the process answers."""
        return {"status": "ok"}

    def ready(self, request: Request, response: Response) -> Any:
        """Tell whether keys are held: ``ok``, ``degraded`` or, with 503, ``unavailable``."""
        status = "draining" if request.app.has("draining") else request.app.make("jwks").readiness()
        return response.json({"status": status}, status=200 if status in ("ok", "degraded") else 503)
