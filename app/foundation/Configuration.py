"""The configuration: the upper-case names of the modules in ``config/``."""

import importlib
import pkgutil

from masonite.configuration import Configuration as MasoniteConfiguration


class Configuration(MasoniteConfiguration):
    """Masonite's configuration, found wherever the process was started, and with import errors left as they are."""

    def load(self) -> None:
        """Read every module of the package that ``config.location`` names: ``LEEWAY`` in ``jwt`` is ``jwt.leeway``."""
        package = importlib.import_module(self.application.make("config.location"))
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for name, value in vars(module).items():
                if name.isupper() and not name.startswith("_"):
                    self.set(f"{found.name}.{name.lower()}", value)
