"""The commands of ``craft``, one a file."""

from masonite.routes.commands import RouteListCommand

from .JwksShowCommand import JwksShowCommand
from .JwtInspectCommand import JwtInspectCommand
from .JwtTokenCommand import JwtTokenCommand
from .ServeCommand import ServeCommand

COMMANDS = [ServeCommand, JwtTokenCommand, JwtInspectCommand, JwksShowCommand, RouteListCommand]
