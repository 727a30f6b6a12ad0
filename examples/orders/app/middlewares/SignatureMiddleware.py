"""The guard of webhooks: an HMAC over the bytes of the body."""

import hashlib
import hmac
from typing import Any

from masonite.middleware import Middleware

from zuplo_origin.http import HttpException


class SignatureMiddleware(Middleware):
    """Registered in the Kernel as `signature`. Requires `X-Signature: sha256=<hex>`."""

    def before(self, request: Any, response: Any) -> Any:
        secret = request.app.make("config").get("payments.secret")
        expected = "sha256=" + hmac.new(secret.encode(), request.body(), hashlib.sha256).hexdigest()
        sent = request.header("X-Signature") or ""
        if not secret or not hmac.compare_digest(expected.encode(), sent.encode()):
            raise HttpException(401, "the signature is missing or wrong")
        return request

    def after(self, request: Any, response: Any) -> Any:
        return request
