"""What the process counts."""

from typing import Any

from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response

from app.telemetry.exposition import exposition


class MetricsController(Controller):
    """For Prometheus. Registered where METRICS_ENABLED says so, and METRICS_PORT names no port of its own."""

    def show(self, request: Request, response: Response) -> Any:
        """Tell what all processes have counted."""
        text, kind = exposition(request.app.make("metrics").registry)
        response.header("Content-Type", kind)
        response.json_text(text)
        return response
