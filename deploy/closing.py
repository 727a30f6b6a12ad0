"""Asking clients to go elsewhere: ``Connection: close`` (RFC 9112, section 9.6), once ``leaving`` is set."""

import threading
from collections.abc import Callable
from typing import Any


def closing_wsgi(application: Any, leaving: threading.Event) -> Any:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if not leaving.is_set():
            return application(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("Connection", "close")], exc_info)

        return application(environ, start)

    return answer


def closing_asgi(application: Any, leaving: threading.Event) -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if leaving.is_set() and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await application(scope, receive, sent)

    return answer
