"""The framework's part of the start: what Masonite's ``CoreKernel`` registers, with this application's own parts."""

import os

from masonite.foundation.CoreKernel import CoreKernel
from masonite.loader import Loader

from .Middlewares import Middlewares
from .RequestHandler import RequestHandler
from .Router import Router


class FrameworkKernel(CoreKernel):
    """Registers the request handler, the router and the middleware; for ``craft``, the registry of commands too.

    The environment is what the process was started with: only ``craft`` reads ``.env``, before this.
    """

    def load_environment(self) -> None:
        """Leave the environment as it is (Masonite's own lets ``.env`` override it)."""

    def register_framework(self) -> None:
        self.application.use_storage_path(os.path.join(self.application.base_path, "storage"))

    def register_capsules(self) -> None:
        middlewares = Middlewares()
        router = Router(middlewares)
        self.application.bind("middleware", middlewares)
        self.application.bind("router", router)
        handler = RequestHandler(self.application, router, middlewares)
        self.application.bind("observers", handler.observers)
        self.application.set_response_handler(handler)
        self.application.bind("loader", Loader())
        if self.application.is_running_in_console() or self.application.is_running_tests():
            self.register_console()

    def register_console(self) -> None:
        """Bind the registry of craft commands. A server needs none: 7 MiB in each process."""
        from cleo.application import Application as CommandApplication
        from masonite import __version__
        from masonite.commands import CommandCapsule

        self.application.bind("commands", CommandCapsule(CommandApplication("Masonite", __version__)))
