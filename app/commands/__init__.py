"""The commands of ``craft``, one a file."""

from masonite.routes.commands import RouteListCommand

from .JwtTokenCommand import JwtTokenCommand
from .ServeCommand import ServeCommand

COMMANDS = [ServeCommand, JwtTokenCommand, RouteListCommand]
