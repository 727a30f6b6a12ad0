"""What commands share that run beside a development server."""

from typing import Any

from app.issuer.Development import Development, NotRunning


def use_development_server(application: Any) -> None:
    """Make the settings those of the development server that runs here; ``NotRunning`` where there is none."""
    from app.providers.JWKSProvider import JWKSProvider
    from app.providers.JWTProvider import JWTProvider
    from app.providers.SettingsProvider import SettingsProvider

    config = application.make("config")
    if config.get("application.env") != "local":
        raise NotRunning("there is a development server in development alone")
    running = Development.running(application.get_storage_path())
    entry = {"issuer": running.issuer, "audience": f"{running.address}/*", "algorithms": config.get("jwt.algorithms")}
    config.set("jwt.issuers", [entry])
    application.register_providers(SettingsProvider, JWKSProvider, JWTProvider)
