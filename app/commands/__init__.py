"""The commands of ``craft``, one a file."""

from masonite.routes.commands import RouteListCommand

from .JwksShowCommand import JwksShowCommand
from .JwtInspectCommand import JwtInspectCommand
from .JwtTokenCommand import JwtTokenCommand
from .OpenApiWriteCommand import OpenApiWriteCommand
from .OriginCheckCommand import OriginCheckCommand
from .ProtectedMakeCommand import ProtectedMakeCommand
from .ServeCommand import ServeCommand
from .ZuploExportCommand import ZuploExportCommand

COMMANDS = [
    ServeCommand,
    ProtectedMakeCommand,
    JwtTokenCommand,
    JwtInspectCommand,
    JwksShowCommand,
    RouteListCommand,
    OpenApiWriteCommand,
    ZuploExportCommand,
    OriginCheckCommand,
]
