"""The start of the application: base class of providers, configuration, and the framework's kernel."""

import importlib
import logging
import os
import pkgutil
from typing import Any

from masonite.configuration import Configuration as MasoniteConfiguration
from masonite.foundation.CoreKernel import CoreKernel
from masonite.loader import Loader
from masonite.utils.structures import data

from zuplo_origin import __version__

from .application import RequestHandler
from .requests import RequestLogRecord
from .routing import Middlewares, Router


class Provider:
    """Base class of providers, with the interface of Masonite's ``Provider``.

    An import of Masonite's class imports all providers of the framework (mail, queues, the ORM), which take 8 MiB in
    each process. Providers that inherit from it work as well.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    def register(self) -> None:
        """Bind services. Called once, when the process starts."""

    def boot(self) -> None:
        """Prepare a request. Called for each request, before its route is looked up."""


class Configuration(MasoniteConfiguration):
    """Masonite's configuration, read from any working directory; import errors are not caught."""

    def __init__(self, application: Any) -> None:
        super().__init__(application)
        self._config = data({})  # Masonite's default is one dict for all configurations of a process

    def load(self) -> None:
        """Read the modules of the package ``config.location``: ``LEEWAY`` in module ``jwt`` becomes ``jwt.leeway``."""
        package = importlib.import_module(self.application.make("config.location"))
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for name, value in vars(module).items():
                if name.isupper() and not name.startswith("_"):
                    self.set(f"{found.name}.{name.lower()}", value)


class FrameworkKernel(CoreKernel):
    """Registers the request handler, the router, the middleware and, for ``craft``, the commands."""

    def load_environment(self) -> None:
        """Keep the process environment. In Masonite, ``.env`` overrides it; here, only ``craft`` reads ``.env``."""

    def register_framework(self) -> None:
        self.application.use_storage_path(os.path.join(self.application.base_path, "storage"))
        logging.setLogRecordFactory(RequestLogRecord)

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
        """Bind the registry of craft commands, which takes 7 MiB: servers do without it."""
        from cleo.application import Application as CommandApplication
        from masonite.commands import CommandCapsule

        self.application.bind("commands", CommandCapsule(CommandApplication("zuplo-origin", __version__)))
