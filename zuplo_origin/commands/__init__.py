"""Craft commands. Those of ``zuplo_origin.dev`` are for development, the others also for deployments."""

import importlib.util
from typing import Any

from .examples import add_examples
from .jwks_show import JwksShowCommand
from .jwt_inspect import JwtInspectCommand
from .openapi_write import OpenApiWriteCommand
from .stock import bind_locations, deployment_commands


def register_commands(application: Any) -> None:
    """Register the commands with ``application``. The production image does not contain ``zuplo_origin.dev``."""
    bind_locations(application)
    own = (JwtInspectCommand, JwksShowCommand, OpenApiWriteCommand)
    commands: list[Any] = [*(command(application) for command in own), *deployment_commands(application)]
    if importlib.util.find_spec("zuplo_origin.dev") is not None:
        from zuplo_origin.dev.commands import development_commands

        commands += development_commands(application)
    add_examples(commands)
    application.make("commands").add(*commands)
