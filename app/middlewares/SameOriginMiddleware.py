"""Keeps the console's own requests to the console's own page."""

from typing import Any

from masonite.middleware import Middleware

from app.exceptions.HttpException import HttpException


class SameOriginMiddleware(Middleware):
    """For routes that no other web site may use, though it is open in the same browser.

    A browser says where a request comes from: in ``Sec-Fetch-Site`` (Fetch Metadata), and in ``Origin`` (RFC 6454).
    """

    def before(self, request: Any, response: Any) -> Any:
        environ = request.environ
        site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
        if site not in (None, "same-origin", "none"):
            raise HttpException(403)
        if origin is not None and origin != f"http://{environ.get('HTTP_HOST')}":
            raise HttpException(403)
        if environ["REQUEST_METHOD"] == "POST" and not environ.get("CONTENT_TYPE", "").startswith("application/json"):
            raise HttpException(415)  # what a form of another site could send
        return request

    def after(self, request: Any, response: Any) -> Any:
        return request
