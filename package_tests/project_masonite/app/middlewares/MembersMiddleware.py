from masonite.middleware import Middleware


class MembersMiddleware(Middleware):
    def before(self, request, response):
        if not request.user().is_member:
            return response.json({"error": "Members only"}, 403)
        return request

    def after(self, request, response):
        response.header("X-Members", "yes")
        return request
