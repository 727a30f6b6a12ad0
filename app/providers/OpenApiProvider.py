"""Binds the description of the API."""

from app.foundation.Provider import Provider
from app.openapi.Description import Description


class OpenApiProvider(Provider):
    """Binds ``openapi``. Without settings, as in some commands, the token stands where it usually does."""

    def register(self) -> None:
        make, header, scheme = self.application.make, "Authorization", "Bearer"
        if self.application.has("settings"):
            header, scheme = make("settings").header, make("settings").scheme
        config = make("config")
        title, version = config.get("application.name"), config.get("application.version")
        self.application.bind("openapi", Description(make("router"), title, version, header, scheme))
