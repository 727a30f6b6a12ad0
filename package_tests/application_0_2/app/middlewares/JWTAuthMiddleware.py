"""The guard of protected routes. Its rules are in `zuplo_origin/guard.py`."""

from typing import Any

from masonite.middleware import Middleware

from zuplo_origin.guard import check_scopes
from zuplo_origin.jwt.reasons import Rejected


class JWTAuthMiddleware(Middleware):
    """Registered in the Kernel as `jwt`. `.middleware("jwt:read:orders,write:orders")` requires both scopes.

    `request.user()` returns the verified claims in the controllers behind it.
    """

    before_body = True  # runs before the server reads the body, which it does not read if the request is rejected
    check_arguments = staticmethod(check_scopes)  # at start: a route with an invalid scope is an error

    def before(self, request: Any, response: Any, *scopes: str) -> Any:
        guard = request.app.make("guard")
        try:
            request.set_user(guard.verify(request, scopes))
        except Rejected as rejected:
            return guard.reject(request, response, rejected, scopes)
        return request

    def after(self, request: Any, response: Any, *scopes: str) -> Any:
        response.header("Cache-Control", "no-store")  # overrides the controller's (RFC 9111, section 5.2.2.5)
        return request
