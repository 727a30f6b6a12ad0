"""What commands share that look at tokens and keys: whose settings they go by."""

import os
from typing import Any

from masonite.commands import Command

from app.issuer.Development import Development, NotRunning
from app.providers.JWKSProvider import JWKSProvider
from app.providers.JWTProvider import JWTProvider
from app.providers.SettingsProvider import SettingsProvider


def find_settings(command: Command, application: Any) -> bool:
    """Whether ``application`` has settings: those of the environment, or of the development server that runs here.

    Where it has neither, ``command`` says what is missing.
    """
    if application.has("settings"):
        return True
    problems, config = application.make("settings.problems"), application.make("config")
    if config.get("application.env") != "local" or os.environ.get("JWT_ISSUER"):
        command.line_error(problems)
        return False
    try:
        running = Development.running(application.get_storage_path())
    except NotRunning as error:
        command.line_error(f"{problems}\n\nOr else: {error}")
        return False
    entry = {"issuer": running.issuer, "audience": f"{running.address}/*", "algorithms": config.get("jwt.algorithms")}
    config.set("jwt.issuers", [entry])
    application.register_providers(SettingsProvider, JWKSProvider, JWTProvider)
    if not application.has("settings"):
        command.line_error(application.make("settings.problems"))
        return False
    return True
