"""Which request a line of the log belongs to."""

import os
import random
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request under way in this thread."""
TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The id of the trace that it belongs to, where it came with one (W3C Trace Context)."""

TRACE_HEADERS = {"HTTP_TRACEPARENT": "traceparent", "HTTP_TRACESTATE": "tracestate"}
"""WSGI keys to names (W3C Trace Context, sections 3.2 and 3.3)."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
HEADER = "zp-rid"
"""The header in which the gateway names a request."""
_RANDOM = random.Random()  # noqa: S311  # for names, not secrets: the system's own takes a call of the kernel for each
os.register_at_fork(after_in_child=_RANDOM.seed)
_GATEWAYS = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(environ: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the gateway's id of a request, or one that is made here, and whether it was made here.

    Anybody can send the header: what is no plain word is nobody's id.
    """
    sent = environ.get("HTTP_ZP_RID")
    if sent is not None and _GATEWAYS.fullmatch(sent):
        return sent, False
    return f"{_RANDOM.getrandbits(128):032x}", True


def trace_id(environ: Mapping[str, Any]) -> str | None:
    """Return the id of the trace that a request came with; ``None`` where it came with none."""
    sent = environ.get("HTTP_TRACEPARENT")
    found = _TRACEPARENT.fullmatch(sent) if sent is not None else None
    return found[1] if found else None


def context() -> dict[str, str]:
    """Return what every line of the request under way carries."""
    found = {"rid": REQUEST_ID.get(), "trace_id": TRACE_ID.get()}
    return {name: value for name, value in found.items() if value is not None}
