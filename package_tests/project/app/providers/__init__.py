"""The providers. Each binds what `zuplo_origin` makes from the settings."""

from urllib.parse import urlsplit

from masonite.routes import Route

from zuplo_origin.controllers import MetricsController, ResourceMetadataController
from zuplo_origin.factory import make_description, make_guard, make_key_sets, make_settings
from zuplo_origin.http.errors import JsonExceptionHandler
from zuplo_origin.http.kernel import Provider
from zuplo_origin.observability import enable_metrics
from zuplo_origin.observability.logs import AccessLog
from zuplo_origin.observability.tracing import enable_tracing
from zuplo_origin.settings import METADATA, BadSettings, read_settings


class FoundationProvider(Provider):
    """Binds `exception_handler`, `settings`, `metrics` and the observers of requests.

    A server with invalid settings ends here. A craft command runs without settings, or reports the problems.
    """

    def register(self):
        application = self.application
        application.bind("exception_handler", JsonExceptionHandler(application))
        config = application.make("config")
        if not application.is_running_in_console():
            application.bind("settings", make_settings(config))
        else:
            try:
                application.bind("settings", read_settings(config))
            except BadSettings as bad:
                application.bind("settings.problems", str(bad))
        enable_tracing(application)
        application.make("observers").append(AccessLog())
        if application.has("settings") and application.make("settings").metrics:
            enable_metrics(application)


class TokenProvider(Provider):
    """Binds `jwks` and `guard`. In a server, the first fetch of the keys begins here."""

    def register(self):
        application = self.application
        if not application.has("settings"):
            return
        settings = application.make("settings")
        metrics = application.make("metrics") if application.has("metrics") else None
        key_sets = make_key_sets(settings, application.get_storage_path(), metrics)
        application.bind("jwks", key_sets)
        application.bind("guard", make_guard(settings, key_sets, metrics))
        if not application.is_running_in_console():
            key_sets.start()


class RouteProvider(Provider):
    """Binds `openapi`, and adds the routes that depend on the settings."""

    def register(self):
        make = self.application.make
        settings = make("settings") if self.application.has("settings") else None
        self.application.bind("openapi", make_description(make("config"), make("router"), settings))
        if settings and settings.metrics and settings.metrics_port is None:
            make("router").add(Route.get("/metrics", MetricsController.show))
        if settings and settings.resource_metadata is not None:
            for path in {METADATA: None, urlsplit(settings.resource_metadata).path: None}:
                make("router").add(Route.get(path, ResourceMetadataController.show))


PROVIDERS = [FoundationProvider, TokenProvider, RouteProvider]
