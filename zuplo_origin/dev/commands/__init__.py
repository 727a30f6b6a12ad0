"""Craft commands for development."""

from .jwt_token import JwtTokenCommand
from .origin_check import OriginCheckCommand
from .protected_make import ProtectedMakeCommand
from .serve import ServeCommand
from .zuplo_export import ZuploExportCommand

COMMANDS = [ServeCommand, ProtectedMakeCommand, JwtTokenCommand, ZuploExportCommand, OriginCheckCommand]
