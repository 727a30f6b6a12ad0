"""Declarations above an action: the responses that it has, and the headers and the body that it reads."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import HttpException, is_status, shown

Action = TypeVar("Action", bound=Callable[..., Any])

_RESPONSES, _TYPES, _HEADERS = "__declared_responses__", "__accepted_types__", "__request_headers__"
_EXAMPLE = "__example_of_body__"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header (RFC 9110, section 5.6.2)."""
_NOT_READ = {"accept": "@responds", "content-type": "@accepts", "authorization": '.middleware("jwt")'}
"""Headers that a Parameter Object cannot describe (OpenAPI 3.1, section 4.8.12.2), and what does."""


@dataclass(frozen=True)
class DeclaredResponse:
    """One response of an action. ``model`` is the type of its body; ``None`` if it has none, or the shared one.

    ``headers`` are pairs of a name and a description.
    """

    status: int
    model: Any = None
    description: str | None = None
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def responds(
    status: int,
    model: Any = None,
    description: str | None = None,
    *,
    content_type: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Callable[[Action], Action]:
    """Declare a response of the action below: ``@responds(201, Order, "The new order")``.

    The response has the first status below 400, unless the action sets another one. ``model`` is any type that
    pydantic has a schema for, as in ``list[Order]``. A status from 400 without a model has the body of all errors.
    ``content_type`` describes a body that is not JSON; the action sets the header itself. ``headers`` are further
    headers that the action sets, each with a description: ``headers={"Location": "The URL of the new order"}``. Raises
    ``ValueError`` for a status that is not from 200 to 599, and for a text that is not the name of a header.
    """
    if not is_status(status):
        raise ValueError(f"@responds({shown(status)}): a status is a number from 200 to 599")
    for name in headers or {}:
        _check_name("responds", name)
        if name.lower() == "content-type":
            raise ValueError(f"@responds({status}): write content_type=… for the header Content-Type")
    described = tuple((headers or {}).items())

    def declare(action: Action) -> Action:
        declared = DeclaredResponse(status, model, description, content_type, described)
        setattr(action, _RESPONSES, (declared, *responses_of(action)))
        return action

    return declare


def accepts(*content_types: str, example: Any = None) -> Callable[[Action], Action]:
    """Declare the content types of the body that the action below reads: ``@accepts("text/csv")``.

    A body of another type is rejected with 415 before it is read. ``image/*`` accepts every type of images. With a
    model, ``@accepts("application/json")`` accepts JSON and no forms. Without types, ``@accepts()`` declares that the
    action reads no body: none is described, and one that is sent is ignored. The API description has ``example``, a
    text or a JSON value. Raises ``ValueError`` for a text that is not a content type.
    """
    for each in content_types:
        kind, slash, name = each.partition("/")
        if not kind or not slash or not name or ";" in each or each != each.strip().lower():
            raise ValueError(f"@accepts({each!r}): write a content type, in lower case, as in 'text/csv'")
    if not content_types and example is not None:
        raise ValueError("@accepts(example=…): name the content type of the example, as in 'text/csv'")

    def declare(action: Action) -> Action:
        setattr(action, _TYPES, content_types)
        setattr(action, _EXAMPLE, example)
        return action

    return declare


def reads_header(name: str, description: str, *, required: bool = False) -> Callable[[Action], Action]:
    """Declare a header that the action below reads: ``@reads_header("X-Source", "Where the order comes from")``.

    This describes the header, and does not look for it: an action whose header is ``required`` rejects a request
    without it. Raises ``ValueError`` for a text that is not the name of a header, for a header that is declared twice,
    and for ``Accept``, ``Content-Type`` and ``Authorization``, which OpenAPI describes elsewhere.
    """
    _check_name("reads_header", name)
    if (instead := _NOT_READ.get(name.lower())) is not None:
        raise ValueError(f"@reads_header({name!r}): {instead} describes this header")
    parameter = {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    }
    return lambda action: declare_header(action, parameter, ())


def _check_name(decorator: str, name: str) -> None:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueError(f"@{decorator}: {shown(name)} is not the name of a header; write one as in 'Location'")


def declare_header(action: Action, parameter: Mapping[str, Any], statuses: tuple[int, ...]) -> Action:
    """Declare a header that ``action`` reads: its Parameter Object (OpenAPI), and the errors that it may cause."""
    if any(each["name"].lower() == parameter["name"].lower() for each, _ in request_headers(action)):
        raise ValueError(f"the header {parameter['name']} is declared twice above {action.__qualname__}")
    setattr(action, _HEADERS, ((parameter, statuses), *request_headers(action)))
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


def reads_no_body(action: Any) -> bool:
    """Return whether ``action`` declares with ``@accepts()`` that it reads no body."""
    return getattr(action, _TYPES, None) == ()


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
