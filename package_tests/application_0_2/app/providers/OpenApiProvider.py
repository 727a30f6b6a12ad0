"""Binds the API description."""

from zuplo_origin.factory import make_description
from zuplo_origin.http.kernel import Provider


class OpenApiProvider(Provider):
    """Binds `openapi`."""

    def register(self) -> None:
        make = self.application.make
        settings = make("settings") if self.application.has("settings") else None
        self.application.bind("openapi", make_description(make("config"), make("router"), settings))
