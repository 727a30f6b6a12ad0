"""One line for each request."""

import logging
from typing import Any

from app.encoding.printable import printable
from app.log.Event import Event

from .labels import method_of, route_of

log = logging.getLogger("app.access")


class AccessLog:
    """Tells of a request what was asked for and answered, and why it was not let in.

    The path is not told, the route is: anything may stand in a path, a token too. Of a token there is the id of its
    key, cleaned and cut, and its issuer where that is a known one.
    """

    def __call__(self, request: Any, status: int, seconds: float) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        fields = {
            "method": method_of(request),
            "route": route_of(request),
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if request.streamed is not None:
            fields["bytes"], fields["complete"] = request.streamed
        refused = request.refused
        if refused is not None:
            fields |= {"reason": refused.reason.value, "issuer": refused.issuer or "-", "kid": printable(refused.kid)}
        log.info(Event("request", **fields))
