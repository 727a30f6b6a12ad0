"""Craft commands for development."""

from typing import Any

from .generators import generator_commands
from .jwt_token import JwtTokenCommand
from .origin_check import OriginCheckCommand
from .protected_make import ProtectedMakeCommand
from .serve import ServeCommand
from .zuplo_export import ZuploExportCommand


def development_commands(application: Any) -> list[Any]:
    own = (ServeCommand, ProtectedMakeCommand, JwtTokenCommand, ZuploExportCommand, OriginCheckCommand)
    return [*(command(application) for command in own), *generator_commands(application)]
