"""Hashes of passwords: bcrypt and argon2 (``HASHING`` in ``config/application.py``)."""

import importlib.util
from typing import Any

from masonite.hashing import Hash as MasoniteHash
from masonite.hashing.drivers import Argon2Hasher, BcryptHasher

from zuplo_origin.http.errors import HttpException
from zuplo_origin.http.kernel import Provider

from .start import configured, stop

DEFAULT = {"default": "bcrypt", "bcrypt": {"rounds": 12}}
"""Used if ``HASHING`` is not set."""


class Hash(MasoniteHash):
    """Masonite's ``Hash``. Each call has a driver of its own, because Masonite's keep the options of a call.

    ``check`` returns ``False`` for a wrong password and for a text that is not a hash: argon2 raises there.
    """

    def get_driver(self, name: str | None = None) -> Any:
        return type(super().get_driver(name))()

    def make(self, string: str, options: Any = None, driver: str | None = None) -> str:
        return self.make_bytes(string, options, driver).decode("ascii")

    def make_bytes(self, string: str, options: Any = None, driver: str | None = None) -> bytes:
        """Return the hash. Raises ``HttpException`` 422 for more than 72 bytes, which bcrypt cannot hash."""
        try:
            made: bytes = super().make_bytes(string, options or {}, driver)
        except (TypeError, ValueError) as error:
            raise HttpException(422, "The value is too long to be hashed, or is not text") from error
        return made

    def check(self, plain_string: str, hashed_string: Any, options: Any = None, driver: str | None = None) -> bool:
        if not isinstance(plain_string, str) or not hashed_string:  # what a client sends may be any JSON value
            return False
        try:
            return bool(super().check(plain_string, hashed_string, options or {}, driver))
        except ValueError:
            return False
        except Exception as error:
            if type(error).__module__.startswith("argon2"):
                return False
            raise


def problems_of(hashing: Any) -> list[str]:
    """Return a sentence for each fault of ``HASHING`` in ``config/application.py``."""
    place = "config/application.py: HASHING"
    if not isinstance(hashing, dict) or hashing.get("default") not in ("bcrypt", "argon2"):
        return [f"{place}: invalid value; expected a dict whose 'default' is bcrypt or argon2"]
    if hashing["default"] == "argon2" and importlib.util.find_spec("argon2") is None:
        return [f"{place}: argon2 is not installed; add argon2-cffi to requirements.in"]
    return []


class HashServiceProvider(Provider):
    """Binds ``hash``."""

    def register(self) -> None:
        hashing = configured(self.application, "application.hashing") or DEFAULT
        stop(problems_of(hashing))
        hasher = Hash(self.application).set_configuration(hashing)
        hasher.add_driver("bcrypt", BcryptHasher())
        hasher.add_driver("argon2", Argon2Hasher())
        self.application.bind("hash", hasher)
