"""``craft jwt:inspect``."""

import re
import sys
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from zuplo_origin.gateway import HEALTH
from zuplo_origin.guard import token_from
from zuplo_origin.http.errors import HttpException
from zuplo_origin.jwks.client import KeysUnavailable
from zuplo_origin.jwt.inspection import RuleResult, inspect, inspect_requirements, inspect_scopes, shown
from zuplo_origin.jwt.reasons import Reason, Rejected
from zuplo_origin.jwt.verifier import MAX_LENGTH, Candidate

from .base import PlainCommand

LONGEST_INPUT = 1_048_576
"""Bytes that are read from standard input."""
_AROUND = " \t\r\n\v\f\"'`,;\u2018\u2019\u201c\u201d\u00a0\u200b\ufeff"
"""White space, quotes and other characters that are copied with a token. No token contains one of them."""
_OPTION = re.compile(r"\A(?:-H|--header)[ =]*")
_HEADER_LINE = re.compile(r"([A-Za-z0-9-]+)[ \t]*:(.*)", re.DOTALL)


class JwtInspectCommand(PlainCommand):
    """
    Evaluate each rule over a token, and print what it found and expected

    jwt:inspect
        {token* : The token or its header line. If it is - or left out, it is read from standard input}
        {--route=? : A route that has to accept the token too, as in "GET /orders"}
    """

    def handle(self) -> int:
        if not self.has_settings():
            return 1
        given = " ".join(self.argument("token"))
        if given in ("", "-"):
            if not given and sys.stdin.isatty():
                return self.fail("no token: pass it as an argument, or pipe it to standard input")
            given = sys.stdin.buffer.read(LONGEST_INPUT).decode("utf-8", "replace")
        settings, guard = self.app.make("settings"), self.app.make("guard")
        text, header = read_token(given, settings.header, settings.scheme, guard.verifier.max_length)
        candidate = guard.verifier.candidate(text)
        with self.progress("verifying the token, which may fetch keys"):
            results = [*header, *inspect(candidate, KeysUnavailable, self._explain_key)]
        route = self.option("route")
        if route:
            results += self._inspect_route(candidate, "" if route is True else route)
        for result in results:
            name = self.paint(f"{result.rule:<16}", *(("bold",) if result.passed is False else ()))
            self.line(f"{self.mark(result.passed)} {name} {self.paint(result.found)}".rstrip())
            if result.reason is not None:
                self.line(f"  {self.paint(result.reason.value, 'red')}; expected: {self.paint(result.expected)}")
            if result.advice:
                self.line(f"  → {self.paint(result.advice, 'yellow')}")
        accepted = all(result.passed for result in results)
        self.line(self.paint("accepted", "bold", "green") if accepted else self.paint("rejected", "bold", "red"))
        return 0 if accepted else 1

    def _explain_key(self, candidate: Candidate) -> str:
        keys = self.app.make("jwks")[candidate.trusted_issuer.name]
        cached = keys.cached()
        if cached is None:
            return f"no keys: {keys.failure() or 'craft jwks:show reports why'}"
        explanation: str = cached.key_set.describe(candidate.kid, candidate.algorithm)
        return explanation

    def _inspect_route(self, candidate: Candidate, given: str) -> Iterator[RuleResult]:
        """Yield the results for the route that ``given`` describes: its scopes, and the claims that it requires."""
        method, _, url = given.strip().rpartition(" ")
        sent = urlsplit(url).path or "/"
        method, path = method.strip().upper() or "GET", unquote(sent)
        try:
            if "%2f" in sent.lower():
                raise HttpException(404)  # an encoded slash, which no route matches
            route = self.app.make("router").match(path, method)[0]
        except HttpException as error:
            yield RuleResult(
                "route", False, None, shown(f"{method} {path}"), "", f"no such route: status {error.status}"
            )
            return
        guards = [(key, rest) for key, _, rest in (each.partition(":") for each in route.get_middlewares())]
        guards = [(key, rest) for key, rest in guards if key in ("jwt", "claims")]
        advice = "" if guards else "not guarded: it accepts every request, whatever its token, and without one"
        gateway = self.app.make("settings").gateway
        if gateway is not None and path not in HEALTH:
            advice = "; ".join(filter(None, (advice, f"the request also needs GATEWAY_SECRET, in {gateway.header}")))
        yield RuleResult("route", True, None, shown(f"{method} {path} is {route.url}"), "", advice)
        claims = candidate.token.claims if hasattr(candidate, "token") else None
        for key, arguments in guards:
            required = arguments.split(",") if arguments else []
            if key == "jwt" and required:
                yield inspect_scopes(claims, required, self.app.make("settings").scope_claims)
            elif key == "claims":
                yield inspect_requirements(claims, required)


def read_token(given: str, header: str, scheme: str, longest: int = MAX_LENGTH) -> tuple[str, list[RuleResult]]:
    """Return the token in ``given``, and the result for its header if ``given`` is a whole header line.

    Without a header's name, the scheme may be left out. White space and quotes around each part are removed.
    """
    text = _OPTION.sub("", given.strip(_AROUND), count=1).strip(_AROUND)
    line = _HEADER_LINE.fullmatch(text)
    value = (line[2] if line else text).strip(_AROUND)
    first, _, rest = value.partition(" ")
    has_scheme = bool(rest) and re.fullmatch("[A-Za-z0-9-]{1,20}", first) is not None
    token = max(value.split(), key=len, default="").strip(_AROUND)
    if line is None and (not has_scheme or first.lower() in (scheme.lower(), "bearer")):
        return (rest if has_scheme else value).strip(_AROUND), []
    name, word = (line[1] if line else header), first if has_scheme else ("..." if rest else "")
    expected = " ".join(f"{header}: {scheme} <token>".split())
    found = shown(" ".join(f"{name}: {word} <token>".split()))
    try:
        if name.lower() != header.lower():
            return token, [RuleResult("header", False, Reason.NO_TOKEN, found, expected)]
        return token_from(value, scheme, longest), [RuleResult("header", True, None, found, expected)]
    except Rejected as rejected:
        return token, [RuleResult("header", False, rejected.reason, found, expected)]
