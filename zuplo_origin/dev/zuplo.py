"""A Zuplo project whose routes are this origin's guarded ones."""

import json
import re
from collections.abc import Iterable
from typing import Any

from zuplo_origin.openapi.description import Operation, described

AUTHENTICATE, SIGN = "authenticate", "sign-for-origin"
"""The names of the policies: who calls, and the token that says so to the origin."""
RUNTIME = """import { JwtServicePlugin, RuntimeExtensions } from "@zuplo/runtime";

// Signs the tokens for the origin, and publishes the keys under /__zuplo/issuer/.well-known/jwks.json
export function runtimeInit(runtime: RuntimeExtensions) {
  runtime.addPlugin(new JwtServicePlugin());
}
"""


class ZuploProject:
    """The files of a Zuplo project that forwards ``operations``, those with a guard, to this origin.

    ``audience`` is what the tokens are for, ``None`` to let the gateway write the URL of each request. ``header`` and
    ``prefix`` say where the token stands. With ``grant_scopes`` the gateway grants each caller the scopes of the route;
    without, it grants none, and the origin refuses on routes that ask for some.
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
        """Return the text of each file, by its path in the project."""
        return {
            "config/policies.json": _json({"policies": self._policies()}),
            "config/routes.oas.json": _json(self._routes()),
            "modules/zuplo.runtime.ts": RUNTIME,
            "package.json": _json(self._package()),
            "README.md": self._readme(),
        }

    def _routes(self) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        for operation in self._operations:
            entry = paths.setdefault(operation.path, {"x-zuplo-path": {"pathMode": "open-api"}})
            entry[operation.method] = self._route(operation)
        return {"openapi": "3.1.0", "info": {"title": self._title, "version": self._version}, "paths": paths}

    def _route(self, operation: Operation) -> dict[str, Any]:
        origin = described(operation)
        kept = ("operationId", "tags", "summary", "parameters")
        route: dict[str, Any] = {name: origin[name] for name in kept if name in origin}
        told = [operation.description] if operation.description else []
        if operation.scopes:
            route["x-origin-scopes"] = list(operation.scopes)
            told.append(f"The origin asks for the scope {' '.join(operation.scopes)}.")
        if told:
            route["description"] = "\n\n".join(told)
        route["responses"] = {"200": {"description": "Done."}}
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
        """The name of the policy that signs for routes with ``scopes``: one for all, where none are granted."""
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
        audience = self._audience or "https://<your gateway's host>/*"
        rows = [f"| `{each.method.upper()} {each.path}` | {_told(each.scopes)} |" for each in self._operations]
        return README.format(
            title=self._title,
            audience=audience,
            rows="\n".join(rows),
            granted=GRANTED if self._grant_scopes else NOT_GRANTED,
            authenticate=AUTHENTICATE,
        )


README = """# The gateway of {title}

Authenticates callers by API key, signs a short-lived token for each request, and forwards it to the origin.

Set three values:

| where | name | value |
|---|---|---|
| here, as an environment variable | `ORIGIN_URL` | the origin's address: `https://<your origin's host>` |
| the origin | `JWT_ISSUER` | `https://<your gateway's host>/__zuplo/issuer` |
| the origin | `JWT_AUDIENCE` | `{audience}` |

Callers have API keys: `{authenticate}` in `config/policies.json`.

| route | scopes that the origin asks for |
|---|---|
{rows}

{granted}
"""


GRANTED = """As exported, the gateway grants these scopes to everybody who may call the route. Put a policy before the
one that signs, which decides who may; or take `additionalClaims` out of `config/policies.json`."""
NOT_GRANTED = f"""As exported, the gateway grants none of them, and the origin answers 403 where one is asked for. Grant
them in `additionalClaims` of `{SIGN}` in `config/policies.json`, or in a policy of your own."""


def _policy(name: str, kind: str, export: str, options: dict[str, Any]) -> dict[str, Any]:
    handler = {"export": export, "module": "$import(@zuplo/runtime)", "options": options}
    return {"name": name, "policyType": kind, "handler": handler}


def _told(scopes: tuple[str, ...] | None) -> str:
    return " ".join(f"`{scope}`" for scope in scopes or ()) or "none"


def slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-") or "origin"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
