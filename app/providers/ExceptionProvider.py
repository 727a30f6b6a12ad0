"""Binds what answers when something is wrong."""

from app.exceptions.JsonExceptionHandler import JsonExceptionHandler
from app.foundation.Provider import Provider


class ExceptionProvider(Provider):
    """Binds ``exception_handler``."""

    def register(self) -> None:
        self.application.bind("exception_handler", JsonExceptionHandler(self.application))
