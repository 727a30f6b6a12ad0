"""The guard of protected routes. It holds no rule: they are in `zuplo_origin/guard.py`."""

from typing import Any

from masonite.middleware import Middleware

from zuplo_origin.jwt.reasons import Rejected


class JWTAuthMiddleware(Middleware):
    """Registered in the Kernel as `jwt`. `.middleware("jwt:read:orders,write:orders")` asks for all those scopes.

    A controller behind it gets the verified claims from `request.user()`.
    """

    before_body = True  # it needs the headers only: a rejected request's body is not read

    def before(self, request: Any, response: Any, *scopes: str) -> Any:
        guard = request.app.make("guard")
        try:
            request.set_user(guard.verify(request, scopes))
        except Rejected as rejected:
            return guard.reject(request, response, rejected, scopes)
        return request

    def after(self, request: Any, response: Any, *scopes: str) -> Any:
        response.header("Cache-Control", "no-store")  # whatever the controller said (RFC 9111, section 5.2.2.5)
        return request
