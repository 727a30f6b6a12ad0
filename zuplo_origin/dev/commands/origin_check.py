"""``craft origin:check``."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # writing alone

from zuplo_origin.commands.base import PlainCommand
from zuplo_origin.dev.issuer import BadKeyFile, Development, NotRunning
from zuplo_origin.dev.origin_check import CheckResult, InvalidTarget, OriginCheck
from zuplo_origin.encoding import load_json


class OriginCheckCommand(PlainCommand):
    """
    Check from outside which requests a deployed origin accepts and rejects

    origin:check
        {url : The URL of the origin, as in https://origin.example.com}
        {--t|token= : A token that the origin should accept, fresh from the gateway}
        {--path= : The path of a guarded route for GET; the default is /protected, or the first one that is described}
        {--header=Authorization : The header of the token}
        {--scheme=Bearer : The scheme before the token; may be empty}
        {--s|secret : Send GATEWAY_SECRET of the environment, and check that requests without it are rejected}
        {--o|openapi= : A file with the API description; the default is /openapi.json of the origin}
        {--j|json : Print the results as JSON}
        {--junit= : Write the results to a file in the JUnit format}
    """

    def handle(self) -> int:
        url, path = self.argument("url"), self.option("path") or None
        token, header, scheme = self.option("token") or None, self.option("header"), self.option("scheme")
        secret = None
        if self.option("secret"):
            # while a secret is rotated, GATEWAY_SECRET is new,old
            value = os.environ.get("GATEWAY_SECRET", "").partition(",")[0].strip()
            if not value:
                return self.fail("--secret: GATEWAY_SECRET is not set")
            secret = (os.environ.get("GATEWAY_SECRET_HEADER") or "backend-secret", value)
        signer = None if token else self._signer(url)
        try:
            description = load_json(Path(self.option("openapi")).read_bytes()) if self.option("openapi") else None
            check = OriginCheck(url, path, token, signer, header, scheme, description, secret)
        except InvalidTarget as error:
            return self.fail(error)
        except (OSError, ValueError) as error:
            return self.fail(f"--openapi: {self.option('openapi')}: {getattr(error, 'strerror', None) or error}")
        results: list[CheckResult] = []
        checks = iter(check.run())
        while True:
            with self.progress(f"waiting for the result of check {len(results) + 1}"):
                result = next(checks, None)
            if result is None:
                break
            results.append(result)
            if not self.option("json"):
                name, detail = self.paint(f"{result.check:20}"), self.paint(result.detail.replace("\n", "\\n"))
                self.line(f"{self.mark(result.passed)} {name} {detail}".rstrip())
        if self.option("json"):
            self.line(json.dumps([asdict(result) for result in results], indent=2))
        count = Counter(result.passed for result in results)
        if not self.option("json"):
            failed = self.paint(f"{count[False]} failed", *(("bold", "red") if count[False] else ("green",)))
            self.line(f"\n{failed}, {count[None]} skipped")
        if self.option("junit"):
            try:
                Path(self.option("junit")).write_bytes(junit(url, results))
            except OSError as error:
                return self.fail(f"--junit: {self.option('junit')}: {error.strerror}")
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


def junit(url: str, results: list[CheckResult]) -> bytes:
    """Return the results as a test suite in the JUnit format."""
    failed, skipped = (sum(1 for each in results if each.passed is state) for state in (False, None))
    counts = {"tests": str(len(results)), "failures": str(failed), "skipped": str(skipped)}
    suite = ElementTree.Element("testsuite", {"name": f"origin:check {url}"} | counts)
    for result in results:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "origin:check", "name": result.check})
        if result.passed is not True:
            kind = "skipped" if result.passed is None else "failure"
            ElementTree.SubElement(case, kind, {"message": result.detail})
    encoded: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return encoded
