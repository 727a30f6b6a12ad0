"""The base of this application's providers."""

from typing import Any


class Provider:
    """What Masonite's own ``Provider`` is, to the letter of its contract.

    Importing that one imports every provider of the framework (mail, queues, the ORM): 8 MiB in each process.
    Providers that inherit from it work here just as well.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    def register(self) -> None:
        """Bind services: called once, as the process starts."""

    def boot(self) -> None:
        """Prepare a request: called for each one, before its route is looked up."""
