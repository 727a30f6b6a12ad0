"""``craft jwt:token``."""

import json
import os
import time
from typing import Any

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.issuer import BadKeyFile, Development, NotRunning
from zuplo_origin.jwks.algorithms import ALGORITHMS

LIFETIME = 300
"""Seconds from ``iat`` to ``exp`` of an expired token."""


class JwtTokenCommand(PlainCommand):
    """
    Print a token of the development issuer, and nothing else

    jwt:token
        {--sub=developer : The subject}
        {--scope=* : The scopes, separated by spaces; may be repeated}
        {--aud= : The audience; the default is the running development server}
        {--ttl=300 : The lifetime in seconds; negative for an expired token}
        {--alg=EdDSA : The signature algorithm}
        {--claim=* : One more claim, as name=value; the value is JSON or text; may be repeated}
    """

    def handle(self) -> int:
        try:
            if os.environ.get("APP_ENV") == "production":
                raise ValueError("the development issuer is not available in production")
            storage = self.app.get_storage_path()
            development = Development.running(storage)
            token = Development.keys(storage).sign(self._claims(development), self._algorithm())
        except (ValueError, NotRunning, BadKeyFile, OSError) as error:
            return self.fail(error)
        self.line(token)
        return 0

    def _algorithm(self) -> str:
        algorithm = self.option("alg")
        if algorithm not in ALGORITHMS:
            raise ValueError(f"--alg: invalid value {algorithm!r}; expected one of {', '.join(ALGORITHMS)}")
        return str(algorithm)

    def _claims(self, development: Development) -> dict[str, Any]:
        try:
            ttl = int(self.option("ttl"))
        except ValueError:
            raise ValueError(f"--ttl: invalid value {self.option('ttl')!r}; expected an integer") from None
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": development.issuer,
            "sub": self.option("sub"),
            "aud": self.option("aud") or f"{development.address}/",
            "iat": now if ttl >= 0 else now + ttl - LIFETIME,
            "exp": now + ttl,
        }
        if any(self.option("scope")):
            claims["scope"] = " ".join(self.option("scope"))
        for pair in self.option("claim"):
            name, equals, value = pair.partition("=")
            if not name or not equals:
                raise ValueError(f"--claim: invalid value {pair!r}; expected name=value")
            claims[name] = _json_or_text(value)
        return claims


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
