"""The middleware `jwt` of this project. `zuplo_origin.guard` holds the rules."""

from masonite.middleware import Middleware

from zuplo_origin.guard import check_scopes
from zuplo_origin.jwt.reasons import Rejected


class TokenMiddleware(Middleware):
    before_body = True
    check_arguments = staticmethod(check_scopes)

    def before(self, request, response, *scopes):
        guard = request.app.make("guard")
        try:
            request.set_user(guard.verify(request, scopes))
        except Rejected as rejected:
            return guard.reject(request, response, rejected, scopes)
        return request

    def after(self, request, response, *scopes):
        response.header("Cache-Control", "no-store")
        return request
