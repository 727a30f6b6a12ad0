"""Encrypted cookies: the middleware ``EncryptCookies``."""

from typing import Any, ClassVar

from cryptography.fernet import Fernet, InvalidToken
from masonite.middleware import EncryptCookies as MasoniteEncryptCookies

from .encryption import fernet_key

_CIPHER = "encrypt_cookies"


class EncryptCookies(MasoniteEncryptCookies):
    """Encrypts the cookies of responses, and decrypts those of requests, with a key that is derived from ``APP_KEY``.

    A cookie that does not decrypt, or that was encrypted under another name, reads as absent. Names in ``exempt`` are
    sent and read as they are.
    """

    exempt: ClassVar[list[str]] = []

    @classmethod
    def at_start(cls, application: Any) -> None:
        """Bind the cipher. Exit without ``APP_KEY``."""
        key = fernet_key(application, "cookies", "EncryptCookies")
        if key is not None:
            application.bind(_CIPHER, Fernet(key))

    def before(self, request: Any, response: Any) -> Any:
        if "HTTP_COOKIE" not in request.environ:
            return request
        cipher: Fernet = request.app.make(_CIPHER)
        loaded = request.cookie_jar.loaded_cookies
        for name in [name for name in loaded if name not in self.exempt]:
            try:
                text = cipher.decrypt(loaded[name].value.encode("latin-1", "replace")).decode("utf-8")
            except (InvalidToken, ValueError):
                del loaded[name]
                continue
            encrypted_name, separator, value = text.partition("=")
            if separator and encrypted_name == name:
                loaded[name].value = value
            else:
                del loaded[name]
        return request

    def after(self, request: Any, response: Any) -> Any:
        jar = response.added_cookies
        for cookie in jar:
            if cookie.encrypt and cookie.name not in self.exempt:
                text = f"{cookie.name}={cookie.value}".encode()
                cookie.value = request.app.make(_CIPHER).encrypt(text).decode("ascii")
        return request
