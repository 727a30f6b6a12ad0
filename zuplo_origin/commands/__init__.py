"""Craft commands: those of this package are for deployments too, those of ``zuplo_origin.dev`` for development."""

import importlib.util
from typing import Any

from masonite.routes.commands import RouteListCommand

from .jwks_show import JwksShowCommand
from .jwt_inspect import JwtInspectCommand
from .openapi_write import OpenApiWriteCommand


def register_commands(application: Any) -> None:
    """Register the commands with ``application``. The image has those of ``zuplo_origin.dev`` not."""
    classes: list[Any] = [JwtInspectCommand, JwksShowCommand, RouteListCommand, OpenApiWriteCommand]
    if importlib.util.find_spec("zuplo_origin.dev") is not None:
        from zuplo_origin.dev.commands import COMMANDS

        classes = [*COMMANDS, *classes]
    application.make("commands").add(*(command(application) for command in classes))
