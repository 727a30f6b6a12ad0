"""``craft origin:check``."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from zuplo_origin.commands.base import MARKS, PlainCommand
from zuplo_origin.dev.issuer import BadKeyFile, Development, NotRunning
from zuplo_origin.dev.origin_check import InvalidTarget, OriginCheck


class OriginCheckCommand(PlainCommand):
    """
    Check from outside which requests a deployed origin accepts and rejects

    origin:check
        {url : The URL of the origin, as in https://origin.example.com}
        {--t|token= : A token that the origin should accept, fresh from the gateway}
        {--path=/protected : The path of a guarded route}
        {--header=Authorization : The header of the token}
        {--scheme=Bearer : The scheme before the token; may be empty}
    """

    def handle(self) -> int:
        url, path = self.argument("url"), self.option("path")
        token, header, scheme = self.option("token") or None, self.option("header"), self.option("scheme")
        try:
            check = OriginCheck(url, path, token, None if token else self._signer(url), header, scheme)
        except InvalidTarget as error:
            return self.fail(error)
        count: Counter[bool | None] = Counter()
        for result in check.run():
            self.line(f"{MARKS[result.passed]} {result.check:20} {result.detail}".rstrip())
            count[result.passed] += 1
        self.line(f"\n{count[False]} failed, {count[None]} skipped")
        return 1 if count[False] else 0

    def _signer(self, url: str) -> Callable[[Mapping[str, Any]], str] | None:
        """Return a function that signs claims for the development server of this project, if ``url`` is its address."""
        storage = self.app.get_storage_path()
        try:
            running = Development.running(storage)
            if url.rstrip("/") != running.address:
                return None
            keys = Development.keys(storage)
        except (NotRunning, BadKeyFile, OSError):
            return None
        own = {"iss": running.issuer, "aud": f"{running.address}/"}
        return lambda claims: keys.sign({**claims, **own}, "EdDSA")
