"""Which request a line of the log belongs to."""

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request under way in this thread."""
TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The id of the trace that it belongs to, where it came with one (W3C Trace Context)."""

HEADER = "zp-rid"
"""The header in which the gateway names a request."""
_GATEWAYS = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(environ: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the gateway's id of a request, or one that is made here, and whether it was made here.

    Anybody can send the header: what is no plain word is nobody's id.
    """
    sent = environ.get("HTTP_ZP_RID")
    if sent is not None and _GATEWAYS.fullmatch(sent):
        return sent, False
    return secrets.token_hex(16), True


def context() -> dict[str, str]:
    """Return what every line of the request under way carries."""
    found = {"rid": REQUEST_ID.get(), "trace_id": TRACE_ID.get()}
    return {name: value for name, value in found.items() if value is not None}
