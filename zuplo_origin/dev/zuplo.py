"""The Zuplo project that ``craft zuplo:export`` writes: it forwards the guarded routes to this origin."""

import json
import re
from collections.abc import Iterable
from typing import Any

from zuplo_origin.openapi.description import Operation, described

AUTHENTICATE, SIGN = "authenticate", "sign-for-origin"
"""The names of the policies that authenticate callers, and that sign tokens for the origin."""
RUNTIME = """import { JwtServicePlugin, RuntimeExtensions } from "@zuplo/runtime";

// Signs tokens for the origin, and publishes their keys at /__zuplo/issuer/.well-known/jwks.json
export function runtimeInit(runtime: RuntimeExtensions) {
  runtime.addPlugin(new JwtServicePlugin());
}
"""


class ZuploProject:
    """A Zuplo project that forwards the guarded ones of ``operations`` to this origin.

    ``audience`` is the ``aud`` of the tokens; with ``None`` the gateway uses the URL of each request. ``header`` and
    ``prefix`` are the header and the scheme of the token. With ``grant_scopes`` the gateway grants each caller the
    scopes of the route; otherwise it grants none, and the origin rejects requests for routes that require one.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        title: str,
        version: str,
        audience: str | None,
        header: str,
        prefix: str,
        grant_scopes: bool,
    ) -> None:
        self._operations = [operation for operation in operations if operation.scopes is not None]
        self._title, self._version, self._audience = title, version, audience
        self._header, self._prefix, self._grant_scopes = header, prefix, grant_scopes
        self._signing: dict[tuple[str, ...], str] = {}
        for operation in self._operations:
            self._signing.setdefault(operation.scopes or (), self._name(operation.scopes or ()))

    def files(self) -> dict[str, str]:
        """Return the text of each file by its path."""
        return {
            "config/policies.json": _json({"policies": self._policies()}),
            "config/routes.oas.json": _json(self._routes()),
            "modules/zuplo.runtime.ts": RUNTIME,
            "package.json": _json(self._package()),
            "README.md": self._readme(),
        }

    def _routes(self) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        origin, _ = described(self._operations)
        for operation in self._operations:
            entry = paths.setdefault(operation.path, {"x-zuplo-path": {"pathMode": "open-api"}})
            entry[operation.method] = self._route(operation, origin[operation.path][operation.method])
        return {"openapi": "3.1.0", "info": {"title": self._title, "version": self._version}, "paths": paths}

    def _route(self, operation: Operation, origin: dict[str, Any]) -> dict[str, Any]:
        kept = ("operationId", "tags", "summary", "parameters")
        route: dict[str, Any] = {name: origin[name] for name in kept if name in origin}
        paragraphs = [operation.description] if operation.description else []
        if operation.scopes:
            route["x-origin-scopes"] = list(operation.scopes)
            paragraphs.append(f"The origin requires the scope {' '.join(operation.scopes)}.")
        if paragraphs:
            route["description"] = "\n\n".join(paragraphs)
        route["responses"] = {"200": {"description": "Success."}}
        route["x-zuplo-route"] = {
            "corsPolicy": "none",
            "handler": {
                "export": "urlForwardHandler",
                "module": "$import(@zuplo/runtime)",
                "options": {"baseUrl": "$env(ORIGIN_URL)"},
            },
            "policies": {"inbound": [AUTHENTICATE, self._signing[operation.scopes or ()]]},
        }
        return route

    def _name(self, scopes: tuple[str, ...]) -> str:
        """Return the name of the signing policy for ``scopes``, which is the same for all if none are granted."""
        if not self._grant_scopes:
            return SIGN
        name = plain = "-".join([SIGN, *(slug(scope) for scope in scopes)])
        number = 2
        while name in self._signing.values():
            name, number = f"{plain}-{number}", number + 1
        return name

    def _policies(self) -> list[dict[str, Any]]:
        policies = [
            _policy(
                AUTHENTICATE,
                "api-key-inbound",
                "ApiKeyInboundPolicy",
                {"allowUnauthenticatedRequests": False, "cacheTtlSeconds": 60},
            )
        ]
        granted = {name: scopes for scopes, name in self._signing.items()} or {SIGN: ()}
        for name, scopes in sorted(granted.items()):
            options: dict[str, Any] = {"audience": self._audience} if self._audience else {}
            options |= {"headerName": self._header, "tokenPrefix": self._prefix, "expiresIn": 300}
            if self._grant_scopes and scopes:
                options["additionalClaims"] = {"scope": " ".join(scopes)}
            policies.append(
                _policy(name, "upstream-zuplo-jwt-auth-inbound", "UpstreamZuploJwtAuthInboundPolicy", options)
            )
        return policies

    def _package(self) -> dict[str, Any]:
        return {
            "name": f"{slug(self._title)}-gateway",
            "version": self._version,
            "private": True,
            "type": "module",
            "scripts": {"dev": "zuplo dev", "test": "zuplo test"},
            "dependencies": {"zuplo": "^6"},
        }

    def _readme(self) -> str:
        audience = self._audience or "https://<host of the gateway>/*"
        rows = [f"| `{each.method.upper()} {each.path}` | {_listed(each.scopes)} |" for each in self._operations]
        return README.format(
            title=self._title,
            audience=audience,
            rows="\n".join(rows),
            granted=GRANTED if self._grant_scopes else NOT_GRANTED,
            authenticate=AUTHENTICATE,
        )


README = """# Gateway of {title}

The gateway authenticates callers by API key, signs a short-lived token for each request, and forwards the request to
the origin.

## Configure it

| set in | variable | value |
|---|---|---|
| this project's environment | `ORIGIN_URL` | `https://<host of the origin>` |
| the origin | `JWT_ISSUER` | `https://<host of the gateway>/__zuplo/issuer` |
| the origin | `JWT_AUDIENCE` | `{audience}` |

The policy `{authenticate}` in `config/policies.json` checks the API keys.

## Grant scopes

| route | required scopes |
|---|---|
{rows}

{granted}
"""
GRANTED = """This export grants the scopes of a route to every caller with an API key. To restrict a route, put a policy
that checks the caller before the policy that signs, or remove `additionalClaims` from `config/policies.json`."""
NOT_GRANTED = f"""This export grants no scopes, and the origin responds with 403 on routes that require one. To grant
scopes, add `additionalClaims` to the policy `{SIGN}` in `config/policies.json`, or add a policy of your own."""


def _policy(name: str, kind: str, export: str, options: dict[str, Any]) -> dict[str, Any]:
    handler = {"export": export, "module": "$import(@zuplo/runtime)", "options": options}
    return {"name": name, "policyType": kind, "handler": handler}


def _listed(scopes: tuple[str, ...] | None) -> str:
    return " ".join(f"`{scope}`" for scope in scopes or ()) or "none"


def slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-") or "origin"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
