"""Binds the handler of exceptions."""

from zuplo_origin.http.errors import JsonExceptionHandler
from zuplo_origin.http.handler import Provider


class ExceptionProvider(Provider):
    """Binds `exception_handler`."""

    def register(self) -> None:
        self.application.bind("exception_handler", JsonExceptionHandler(self.application))
