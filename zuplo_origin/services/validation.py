"""Masonite's validation. ``request.validate`` and ``Validator()`` need no provider."""

from copy import copy
from typing import Any

from masonite.validation import ValidationFactory, Validator

from zuplo_origin.http.kernel import Provider


class ValidationProvider(Provider):
    """Binds ``validator``, for controllers that take ``validate: Validator``."""

    def register(self) -> None:
        validator = Validator()
        validator.extend(ValidationFactory().registry)
        self.application.bind("validator", validator)


def isolate_validator(application: Any) -> None:
    """Bind a copy of the validator for each request: Masonite's keeps the messages of a call."""
    shared = application.objects.shared.get("validator")
    if isinstance(shared, Validator):
        application.scoped("validator", type(shared), lambda: copy(shared))
