"""The application as ASGI, for the one thing that WSGI cannot tell: ``X-Service-Token`` from ``X_Service_Token``.

WSGI names both headers alike, and granian hands on whichever came last: where the gateway's token stands in a header
with a hyphen, a client could stand in for it. ASGI has the names as they were sent. What is spelled with an underscore
is dropped, as gunicorn, waitress and most proxies do.
"""

from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from a2wsgi import WSGIMiddleware

from wsgi import application as wsgi_application


def _with_an_end(environ: dict[str, Any], start_response: Any) -> Any:
    """Say that the body ends where it ends, with or without a stated length."""
    return wsgi_application({**environ, "wsgi.input_terminated": True}, start_response)


_ASCII = "".join(map(chr, range(128)))
_NO_PATH = "/\0"
"""Refused by the application, as a path that is not UTF-8 is: granian has replaced what was wrong with it."""


def _is_utf8(path: bytes) -> bool:
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


_bridge = WSGIMiddleware(_with_an_end, workers=wsgi_application.make("settings").threads)  # type: ignore[arg-type]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request (ASGI 3), without the headers that are spelled with an underscore."""
    if scope["type"] == "http":
        headers = [header for header in scope["headers"] if b"_" not in header[0]]
        query = quote_from_bytes(scope["query_string"], safe=_ASCII).encode()  # what is not ASCII ends the bridge
        path = scope["path"] if _is_utf8(scope["raw_path"]) else _NO_PATH
        scope = {**scope, "headers": headers, "query_string": query, "path": path}

    async def received() -> Any:
        return await receive()  # granian's own is awaitable, and no coroutine, which is what the bridge asks for

    await _bridge(scope, received, send)
