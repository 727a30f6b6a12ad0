"""Encryption with keys that are derived from ``APP_KEY``."""

import base64
from typing import Any

from cryptography.fernet import Fernet
from cryptography.fernet import InvalidToken as InvalidFernetToken
from masonite.auth.Sign import Sign as MasoniteSign
from masonite.exceptions import InvalidToken
from masonite.facades.Facade import Facade

from zuplo_origin.encoding import derived_key
from zuplo_origin.http.kernel import Provider
from zuplo_origin.settings import EXPECTED_KEY, SHORTEST_KEY, raw_value

from .start import is_server, stop


class Sign(MasoniteSign):
    """Masonite's ``Sign``: it encrypts and signs (Fernet). No value is kept, so threads share one object."""

    def __init__(self, key: Any) -> None:
        super().__init__(key)
        self._fernet = Fernet(key)

    def sign(self, value: Any) -> str:
        """Return ``str(value)``, encrypted."""
        return self._fernet.encrypt(str(value).encode("utf-8")).decode("ascii")

    def unsign(self, value: str | None = None) -> str:
        """Return the text that was encrypted. Raises Masonite's ``InvalidToken`` if this key did not encrypt it."""
        try:
            return self._fernet.decrypt(str(value).encode("utf-8", "replace")).decode("utf-8")
        except (InvalidFernetToken, ValueError) as error:
            raise InvalidToken("Invalid Cryptographic Token") from error

    encrypt, decrypt = sign, unsign


class Crypt(metaclass=Facade):
    """``Crypt.encrypt(text)`` and ``Crypt.decrypt(text)``."""

    key = "sign"


def fernet_key(application: Any, purpose: str, needed_by: str) -> bytes | None:
    """Return a key for ``purpose``. Without ``APP_KEY``, exit if this is a server; otherwise return ``None``."""
    secret = str(raw_value(application.make("config"), "APP_KEY") or "").encode("utf-8")
    if len(secret) < SHORTEST_KEY:
        if is_server(application):
            stop([f"APP_KEY: not set, or too short; expected {EXPECTED_KEY}: {needed_by} needs it"])
        return None
    return base64.urlsafe_b64encode(derived_key(secret, purpose))


class EncryptionProvider(Provider):
    """Binds ``sign``, and ``key`` for Masonite's ``Sign()`` without arguments."""

    def register(self) -> None:
        key = fernet_key(self.application, "sign", "EncryptionProvider")
        if key is not None:
            self.application.bind("key", key.decode("ascii"))
            self.application.bind("sign", Sign(key))
