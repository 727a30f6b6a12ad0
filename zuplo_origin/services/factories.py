"""Factories of Masonite's ORM, mended: rows for tests and seeds, with values of the package faker."""

import threading
from typing import Any

from masoniteorm.factories import Factory

_lock = threading.Lock()  # for the creation of the one Faker of the process


def _faker(self: Any) -> Any:
    """Return the one ``Faker`` of the process. ``Faker.seed(1)`` makes its values the same in each run."""
    if Factory._faker is None:
        with _lock:
            if Factory._faker is None:
                try:
                    from faker import Faker
                except ImportError:
                    raise ModuleNotFoundError(
                        "a factory needs the package faker; add it to requirements-dev.txt"
                    ) from None
                Factory._faker = Faker()
    return Factory._faker


def _models(self: Any, save: bool, values: Any, name: str) -> Any:
    """Return one model; with a number or a list of ``values``, a collection of models.

    The ORM's own ``create`` returns models without ids for a number, and raises an error for a list.
    """
    factory = Factory._factories.get(self.model, {}).get(name)
    if factory is None:
        raise LookupError(f"there is no factory {name!r} for {self.model.__name__}: Factory.register(...) adds one")
    each = values if isinstance(values, list) else [values or {}] * self.number
    made = []
    for given in each:
        columns = {**factory(self.faker), **given}
        made.append(self.model.create(columns) if save else self.model.hydrate(columns))
        self.run_after_creates(made[-1])
    return made[0] if self.number == 1 and not isinstance(values, list) else self.model.new_collection(made)


def _make(self: Any, dictionary: Any = None, name: str = "default") -> Any:
    """Return models that are not saved."""
    return _models(self, False, dictionary, name)


def _create(self: Any, dictionary: Any = None, name: str = "default") -> Any:
    """Save models, and return them."""
    return _models(self, True, dictionary, name)


def mend_factories() -> None:
    """Let the ORM's ``Factory`` use the functions of this module."""
    Factory.faker, Factory.make, Factory.create = property(_faker), _make, _create
