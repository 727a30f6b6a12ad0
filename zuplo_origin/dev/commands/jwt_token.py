"""``craft jwt:token``."""

import json
import os
import time
from typing import Any

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.issuer import BadKeyFile, Development, NotRunning
from zuplo_origin.jwks.keys import ALGORITHMS

LIFE = 300
"""Seconds that a gateway's token lives by default."""


class JwtTokenCommand(PlainCommand):
    """
    Print a token of the development issuer, and nothing else

    jwt:token
        {--sub=developer : Who the caller is}
        {--scope=* : What the caller may do, scopes separated by blanks; may be repeated}
        {--aud= : Whom the token is for; the running server by default}
        {--ttl=300 : Seconds that it lives; negative for one that has expired}
        {--alg=EdDSA : What it is signed with}
        {--claim=* : A claim of its own, as name=value, the value in JSON or plain; may be repeated}
    """

    def handle(self) -> int:
        try:
            if os.environ.get("APP_ENV") == "production":
                raise ValueError("the development issuer is not for production")
            storage = self.app.get_storage_path()
            development = Development.running(storage)
            token = Development.keys(storage).sign(self._claims(development), self._algorithm())
        except (ValueError, NotRunning, BadKeyFile, OSError) as error:
            self.line_error(f"jwt:token: {error}")
            return 1
        self.line(token)
        return 0

    def _algorithm(self) -> str:
        algorithm = self.option("alg")
        if algorithm not in ALGORITHMS:
            raise ValueError(f"--alg is one of {', '.join(ALGORITHMS)}")
        return str(algorithm)

    def _claims(self, development: Development) -> dict[str, Any]:
        try:
            ttl = int(self.option("ttl"))
        except ValueError:
            raise ValueError("--ttl is a whole number of seconds") from None
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": development.issuer,
            "sub": self.option("sub"),
            "aud": self.option("aud") or f"{development.address}/",
            "iat": now if ttl >= 0 else now + ttl - LIFE,
            "exp": now + ttl,
        }
        if any(self.option("scope")):
            claims["scope"] = " ".join(self.option("scope"))
        for pair in self.option("claim"):
            name, equals, value = pair.partition("=")
            if not name or not equals:
                raise ValueError("--claim is name=value")
            claims[name] = _json_or_text(value)
        return claims


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
