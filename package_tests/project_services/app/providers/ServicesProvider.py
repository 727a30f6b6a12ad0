"""Policies, gates, listeners and limiters of an application."""

from app.policies.DocumentPolicy import Document, DocumentPolicy
from masonite.facades import Gate, RateLimiter
from masonite.rates import Limit, Limiter

from zuplo_origin.http.kernel import Provider


class Seen:
    def __init__(self, user=None):
        self.user = user


class RememberUser:
    def handle(self, event):
        from wsgi import application

        application.make("request").seen = event.user


class Fails:
    def handle(self, event):
        raise RuntimeError("a listener failed")


class AccountLimiter(Limiter):
    def allow(self, request):
        return Limit.per_day(40).by(request.claim("account"))


class AddressLimiter(Limiter):
    def allow(self, request):
        return Limit.per_day(40).by(request.ip())

    def get_response(self, request, response, headers):
        response.with_headers(headers).json({"error": "Slow down"}, status=429)
        return response


class ServicesProvider(Provider):
    def register(self):
        make = self.application.make
        make("gate").register_policies([(Document, DocumentPolicy)])
        make("event").listen(Seen, RememberUser).listen("failing", [Fails])
        make("rate").register("account", AccountLimiter()).register("address", AddressLimiter())

    def boot(self):
        # as in Masonite's documentation: for each request
        Gate.define("read-own", lambda user, owner: user["sub"] == owner)
        RateLimiter.register("unused", AccountLimiter())
