"""``craft origin:check``."""

from typing import Any
from urllib.parse import urlsplit

from masonite.commands import Command

from app.gateway.OriginCheck import OriginCheck
from app.issuer.Development import Development, NotRunning
from app.issuer.IssuerKeys import BadKeyFile

MARKS = {True: "✓", False: "✗", None: "–"}  # noqa: RUF001


class OriginCheckCommand(Command):
    """
    Try a deployed origin from outside: what it lets in, and what it refuses

    origin:check
        {url : The origin's address, as in https://origin.example.com}
        {--t|token= : A token that it should let in, fresh from the gateway}
        {--path=/protected : A guarded route}
        {--header=Authorization : Where tokens stand}
        {--scheme=Bearer : What stands before them; empty for nothing}
    """

    def __init__(self, application: Any) -> None:
        super().__init__()
        self.app = application

    def handle(self) -> int:
        url, path = self.argument("url"), self.option("path")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            self.line_error("origin:check: the address is a URL, as in https://origin.example.com")
            return 1
        check = OriginCheck(
            url, path, self.option("token") or None, self._sign(url), self.option("header"), self.option("scheme")
        )
        wrong = False
        for finding in check.run():
            self.line(f"{MARKS[finding.passed]} {finding.check:40} {finding.found}".rstrip())
            wrong = wrong or finding.passed is False
        return 1 if wrong else 0

    def _sign(self, url: str) -> Any:
        """What signs for the development server that runs here, where ``url`` is its address; ``None`` otherwise."""
        storage = self.app.get_storage_path()
        try:
            running = Development.running(storage)
            if urlsplit(url).netloc != urlsplit(running.address).netloc:
                return None
            keys = Development.keys(storage)
        except (NotRunning, BadKeyFile, OSError):
            return None
        own = {"iss": running.issuer, "aud": f"{running.address}/"}
        return lambda claims: keys.sign({**claims, **own}, "EdDSA")
