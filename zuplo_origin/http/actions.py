"""Declarations above an action: the responses that it has, and the content types of the body that it reads."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import HttpException, is_status, shown

Action = TypeVar("Action", bound=Callable[..., Any])

_RESPONSES, _TYPES, _HEADERS = "__declared_responses__", "__accepted_types__", "__request_headers__"
_EXAMPLE = "__example_of_body__"


@dataclass(frozen=True)
class DeclaredResponse:
    """One response of an action. ``model`` is the type of its body; ``None`` if it has none, or the shared one."""

    status: int
    model: Any = None
    description: str | None = None
    content_type: str | None = None


def responds(
    status: int, model: Any = None, description: str | None = None, *, content_type: str | None = None
) -> Callable[[Action], Action]:
    """Declare a response of the action below: ``@responds(201, Order, "The new order")``.

    The response has the first status below 400, unless the action sets another one. ``model`` is any type that
    pydantic has a schema for, as in ``list[Order]``. A status from 400 without a model has the body of all errors.
    ``content_type`` describes a body that is not JSON; the action sets the header itself. Raises ``ValueError`` for a
    status that is not from 200 to 599.
    """
    if not is_status(status):
        raise ValueError(f"@responds({shown(status)}): a status is a number from 200 to 599")

    def declare(action: Action) -> Action:
        declared = DeclaredResponse(status, model, description, content_type)
        setattr(action, _RESPONSES, (declared, *responses_of(action)))
        return action

    return declare


def accepts(*content_types: str, example: Any = None) -> Callable[[Action], Action]:
    """Declare the content types of the body that the action below reads itself: ``@accepts("text/csv")``.

    A body of another type is rejected with 415 before it is read. ``image/*`` accepts every type of images. The API
    description has ``example``, a text or a JSON value. Raises ``ValueError`` for a text that is not a content type.
    """
    for each in content_types:
        kind, slash, name = each.partition("/")
        if not kind or not slash or not name or ";" in each or each != each.strip().lower():
            raise ValueError(f"@accepts({each!r}): write a content type, in lower case, as in 'text/csv'")
    if not content_types:
        raise ValueError("@accepts(): name at least one content type, as in 'text/csv'")

    def declare(action: Action) -> Action:
        setattr(action, _TYPES, content_types)
        setattr(action, _EXAMPLE, example)
        return action

    return declare


def declare_header(action: Action, parameter: Mapping[str, Any], statuses: tuple[int, ...]) -> Action:
    """Declare a header that ``action`` reads: its Parameter Object (OpenAPI), and the errors that it may cause."""
    setattr(action, _HEADERS, (*request_headers(action), (parameter, statuses)))
    return action


def request_headers(action: Any) -> tuple[tuple[Mapping[str, Any], tuple[int, ...]], ...]:
    """Return what ``declare_header`` has declared for ``action``."""
    return getattr(action, _HEADERS, ())


def responses_of(action: Any) -> tuple[DeclaredResponse, ...]:
    """Return the declared responses of ``action``, in the order of the source."""
    return getattr(action, _RESPONSES, ())


def example_of_body(action: Any) -> Any:
    """Return the example that ``@accepts`` gives of a body; ``None`` without one."""
    return getattr(action, _EXAMPLE, None)


def accepted_types(action: Any) -> tuple[str, ...]:
    """Return the declared content types of ``action``; empty if it declares none."""
    return getattr(action, _TYPES, ())


def success_status(action: Any) -> int | None:
    """Return the status that ``action`` responds with, unless it sets another; ``None`` if it declares none."""
    return next((each.status for each in responses_of(action) if each.status < 400), None)


def check_content_type(accepted: Iterable[str], environ: Mapping[str, Any]) -> None:
    """Raise ``HttpException`` 415 if the request has a body whose content type is not among ``accepted``."""
    sent = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    has_body = environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ
    if not sent and not has_body:
        return
    if any(each in ("*/*", sent) or (each.endswith("/*") and sent.startswith(each[:-1])) for each in accepted):
        return
    listed = ", ".join(accepted)
    raise HttpException(415, reason=f"the content type is {sent[:100]!r}; the action accepts {listed}")
