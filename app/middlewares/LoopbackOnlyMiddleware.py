"""Keeps a development server to the machine that it runs on."""

import logging
from typing import Any

from masonite.middleware import Middleware

from app.exceptions.HttpException import HttpException

log = logging.getLogger("app")

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_BY_A_PROXY = ("HTTP_FORWARDED", "HTTP_ZP_RID")


class LoopbackOnlyMiddleware(Middleware):
    """Added by ``craft serve`` in development, where tokens come from a key that lies on the disk.

    A page of another site whose name was pointed at 127.0.0.1 sends that name as ``Host``; a proxy or a tunnel says
    that it forwards. Both are refused.
    """

    def before(self, request: Any, response: Any) -> Any:
        environ = request.environ
        _, port = request.app.make("development.listens")
        if environ.get("HTTP_HOST", "").lower() not in {f"{name}:{port}" for name in _LOOPBACK}:
            log.warning("refused: development answers to Host 127.0.0.1:%s or localhost:%s alone", port, port)
            raise HttpException(400)
        if any(key in _BY_A_PROXY or key.startswith("HTTP_X_FORWARDED") for key in environ):
            log.warning("refused: it came through a proxy; to serve a gateway, name its issuer in JWT_ISSUER")
            raise HttpException(400)
        return request

    def after(self, request: Any, response: Any) -> Any:
        return request
