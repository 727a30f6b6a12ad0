"""The start of the application: base class of providers, configuration, and the framework's kernel."""

import importlib
import logging
import os
import pkgutil
from collections.abc import Iterable
from inspect import isclass
from typing import Any

from masonite.configuration import Configuration as MasoniteConfiguration
from masonite.foundation.CoreKernel import CoreKernel
from masonite.loader import Loader as MasoniteLoader
from masonite.utils.structures import data

from zuplo_origin import __version__

from .application import RequestHandler
from .requests import RequestLogRecord
from .routing import Middlewares, RouteError, Router


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

    def problems_at_start(self) -> Iterable[str]:
        """Return a sentence for each reason not to start. Called once, when all providers have registered."""
        return ()


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


class Loader(MasoniteLoader):
    """Masonite's ``Loader``, which finds the controllers that routes name as strings.

    An exception in a module is raised as it is: Masonite prints a part of it, and raises another one.
    """

    def get_modules(self, files_or_directories: Any, raise_exception: bool = False) -> dict[str, Any]:
        if not raise_exception:
            return super().get_modules(files_or_directories)  # type: ignore[no-any-return]
        folders = files_or_directories if isinstance(files_or_directories, list) else [files_or_directories]
        found = {}
        for folder in folders:
            package = importlib.import_module(folder.strip("/").replace("/", "."))
            for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
                found[module.name.rpartition(".")[2]] = importlib.import_module(module.name)
        return found

    def find(self, class_instance: Any, paths: Any, class_name: str, raise_exception: bool = False) -> Any:
        if not raise_exception:
            return super().find(class_instance, paths, class_name)
        for folder in paths if isinstance(paths, list) else [paths]:
            for module in self.get_modules(folder, True).values():
                found = getattr(module, class_name, None)
                if isclass(found) and issubclass(found, class_instance):
                    return found
        raise RouteError(f"there is no {class_instance.__name__.lower()} {class_name!r} in {paths}")


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
