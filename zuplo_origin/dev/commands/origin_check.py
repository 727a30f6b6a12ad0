"""``craft origin:check``."""

from typing import Any

from zuplo_origin.commands.base import MARKS, PlainCommand
from zuplo_origin.dev.issuer import BadKeyFile, Development, NotRunning
from zuplo_origin.dev.origin_check import BadAddress, OriginCheck


class OriginCheckCommand(PlainCommand):
    """
    Try a deployed origin from outside: what it lets in, and what it refuses

    origin:check
        {url : The origin's address, as in https://origin.example.com}
        {--t|token= : A token that it should let in, fresh from the gateway}
        {--path=/protected : A guarded route}
        {--header=Authorization : Where tokens stand}
        {--scheme=Bearer : What stands before them; empty for nothing}
    """

    def handle(self) -> int:
        url, path = self.argument("url"), self.option("path")
        token, header, scheme = self.option("token") or None, self.option("header"), self.option("scheme")
        try:
            check = OriginCheck(url, path, token, None if token else self._sign(url), header, scheme)
        except BadAddress as error:
            self.line_error(f"origin:check: {error}")
            return 1
        told = {True: 0, False: 0, None: 0}
        for finding in check.run():
            self.line(f"{MARKS[finding.passed]} {finding.check:20} {finding.found}".rstrip())
            told[finding.passed] += 1
        self.line(f"\n{told[False]} wrong, {told[None]} not tried")
        return 1 if told[False] else 0

    def _sign(self, url: str) -> Any:
        """What signs for the development server that runs here, where ``url`` is its address; ``None`` otherwise."""
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
