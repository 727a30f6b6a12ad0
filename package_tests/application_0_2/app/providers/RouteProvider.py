"""Adds the routes that depend on settings."""

from urllib.parse import urlsplit

from masonite.routes import Route

from zuplo_origin.http.kernel import Provider


class RouteProvider(Provider):
    """Adds `METRICS` and `METADATA` of `routes/web.py`, if the settings enable them."""

    def register(self) -> None:
        from routes.web import METADATA, METRICS  # not at the top: a route needs wsgi.application when it is created

        if not self.application.has("settings"):
            return
        settings, router = self.application.make("settings"), self.application.make("router")
        if settings.metrics and settings.metrics_port is None:
            router.add(*METRICS)
        if settings.resource_metadata is not None:
            router.add(*METADATA)
            path = urlsplit(settings.resource_metadata).path  # includes the path of PUBLIC_URL (RFC 9728, section 3.1)
            for route in METADATA:
                if route.url != path:
                    router.add(Route.get(path, route.controller).middleware(*route.list_middleware))
