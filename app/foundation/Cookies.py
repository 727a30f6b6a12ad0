"""Cookies, without a session's configuration."""

from typing import Any

from masonite.cookies import CookieJar
from masonite.cookies.Cookie import Cookie
from masonite.utils.time import cookie_expire_time

from app.exceptions.HttpException import HttpException

MAX_COOKIES = 50

_DEFAULTS: dict[str, Any] = {
    "http_only": True,
    "secure": True,
    "expires": None,
    "timezone": None,
    "samesite": "Strict",
    "path": "/",
    "encrypt": False,
}


class Cookies(CookieJar):
    """Masonite's jar of cookies (RFC 6265).

    Masonite asks ``config/session.py``, which there is none of here, for seven options of each cookie: that is what
    makes a thousand of them cost a third of a second.
    """

    def load(self, cookie_string: str) -> "Cookies":
        """Read a ``Cookie`` header; ``HttpException`` 400 where it holds more than 50."""
        if cookie_string.count(";") >= MAX_COOKIES:
            raise HttpException(400)
        super().load(cookie_string)
        return self

    def load_cookie(self, key: str, value: str) -> None:
        self.loaded_cookies[key] = Cookie(key, value, **_DEFAULTS)

    def add(self, name: str, value: str, **options: Any) -> None:
        """Set a cookie: ``HttpOnly``, ``Secure`` and ``SameSite=Strict`` unless ``options`` say otherwise."""
        super().add(name, value, **{**_DEFAULTS, **options})

    def delete(self, name: str) -> None:
        options = {**_DEFAULTS, "expires": cookie_expire_time("expired"), "timezone": "GMT"}
        self.deleted_cookies[name] = Cookie(name, "", **options)
        self.cookies.pop(name, None)
        self.loaded_cookies.pop(name, None)
