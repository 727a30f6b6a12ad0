"""Binds the exception handler."""

from zuplo_origin.http.errors import JsonExceptionHandler
from zuplo_origin.http.kernel import Provider


class ExceptionProvider(Provider):
    """Binds `exception_handler`."""

    def register(self) -> None:
        self.application.bind("exception_handler", JsonExceptionHandler(self.application))
