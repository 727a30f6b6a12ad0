"""The files of a Zuplo project that an export writes once: they belong to the gateway from then on."""

import json
import re
from typing import Any

from . import gateway_claims
from .gateway_claims import Requirement

RUNTIME = """import { JwtServicePlugin, RuntimeExtensions } from "@zuplo/runtime";

// Signs tokens for the origin, and publishes their keys at /__zuplo/issuer/.well-known/jwks.json
export function runtimeInit(runtime: RuntimeExtensions) {
  runtime.addPlugin(new JwtServicePlugin());
}
"""
PROJECT = """{
  "version": 1,
  "compatibilityDate": "2026-03-01"
}
"""
IGNORED = """.zuplo/
.zuplo-local/
.cache/
dist/
node_modules/
.env
.env.zuplo
"""
ENVIRONMENT = """# Copy this file to .env for `zuplo dev`. Deployed environments have their own variables.
ORIGIN_URL=http://127.0.0.1:8000
"""
PORTAL = """import type {{ ZudokuConfig }} from "zudoku";

const config: ZudokuConfig = {{
  site: {{ title: {title} }},
  metadata: {{ title: {title} }},
  navigation: [
    {{ type: "doc", file: "introduction", label: "Introduction" }},
    {{ type: "link", to: "/api", label: "API Reference" }},
  ],
  redirects: [{{ from: "/", to: "/introduction" }}],
  apis: [{{ type: "file", input: "../config/routes.oas.json", path: "api" }}],
}};

export default config;
"""
INTRODUCTION = """---
title: Introduction
---

This portal describes {title}. Its reference is made from `config/routes.oas.json`, which the origin updates.

{authentication}
"""
WITH_KEY = "Send your API key with each request: `Authorization: Bearer <key>`."
WITH_TOKEN = "Send the token of your identity provider with each request: `{header}: {prefix} <token>`."  # noqa: S105  # a text
TESTS = """import {{ describe, it, TestHelper }} from "@zuplo/test";
import {{ expect }} from "chai";

const guarded: [string, string][] = [{guarded}];

// Run against a running gateway: npx zuplo test --endpoint http://localhost:9000
describe("The gateway of {title}", () => {{
  for (const [method, path] of guarded) {{
    it(`rejects ${{method}} ${{path}} without credentials`, async () => {{
      const response = await fetch(`${{TestHelper.TEST_URL}}${{path}}`, {{ method }});
      expect(response.status).to.equal(401);
    }});
  }}
}});
"""
README = """# Gateway of {title}

{what}

`python craft zuplo:export` of the origin adds routes and updates what it describes. Policies, handlers, CORS and every
file here are yours: an export does not change them.

## Configure it

| set in | variable | value |
|---|---|---|
{settings}

{authentication}

## Limit rates and allow browsers

Add a policy to `config/policies.json`, and its name to `policies.inbound` of the routes, after the policy that
authenticates:

```json
{{
  "name": "limit-rate",
  "policyType": "rate-limit-inbound",
  "handler": {{
    "export": "RateLimitInboundPolicy",
    "module": "$import(@zuplo/runtime)",
    "options": {{ "rateLimitBy": "user", "requestsAllowed": 100, "timeWindowMinutes": 1 }}
  }}
}}
```

For callers in browsers, set `"corsPolicy": "anything-goes"` in `x-zuplo-route`, or the name of a policy of yours.

## Run it

```sh
npm install
cp env.example .env
npm run dev
npx zuplo test --endpoint http://localhost:9000
```

## Deploy it

Zuplo deploys a project from its Git repository. Create an empty repository at GitHub, push these files to it (its
address replaces the one below), and create a project in your account at Zuplo:

```sh
git init -b main
git add .
git commit -m "Create the gateway"
git remote add origin https://github.com/your-organization/{slug}-gateway.git
git push -u origin main
npx zuplo login
npx zuplo project create --name {slug}-gateway
npx zuplo link
```

1. Open the project at https://portal.zuplo.com. In **Settings**, **Environment Variables**, set this project's
   variables of the table above. A change applies from the next deployment on.
2. In **Settings**, **Source Control**, connect the repository. From then on each push deploys: the default branch is
   the production environment, each other branch is an environment of its own.
3. The portal shows the address of each environment: `<host of the gateway>` in the table. Set the variables of the
   origin, and start it.

Without GitHub, `npx zuplo deploy --api-key "$ZUPLO_API_KEY"` deploys the current branch, from your machine or from CI.
The key is in **Settings**, **Zuplo API Keys**.
"""
SIGNED = """The gateway authenticates callers by API key, signs a short-lived token for each request, and forwards the
request to the origin. Signing needs the JWT service, a part of Zuplo's enterprise plan that is free to try."""
PASSED = """The gateway authenticates callers by the token of an identity provider, and forwards it to the origin, which
verifies it again."""
CONSUMERS = """## Grant scopes to a consumer

Put them into the metadata of the consumer of an API key. The policy `{sign}` copies
{copied} into the token. {what}

```json
{metadata}
```

`sub` in the token is the name of the consumer. A consumer without metadata has no scopes, and receives 403 on routes
that require one."""
REQUIRED = """

## Give a consumer the claims that routes read

The policy copies them from the metadata too, as in the example above. The origin responds with 403 to a consumer
without the value that a route requires:

{table}"""
USERS = """## Grant scopes to a user

The identity provider grants them: the origin reads scopes and claims of the token that passes through."""


def routes(title: str, version: str) -> dict[str, Any]:
    """Return a routes file without routes."""
    return {"openapi": "3.1.0", "info": {"title": title, "version": version}, "paths": {}}


def others(
    title: str,
    version: str,
    settings: list[tuple[str, str, str]],
    guarded: list[tuple[str, str]],
    token_header: tuple[str, str] | None,
    slug: str,
    sign: str,
    required: list[tuple[str, Requirement]],
    scope_claim: str,
    scopes: list[str],
) -> dict[str, str]:
    """Return the text of each file but those with routes and policies, by its path.

    ``settings`` are rows of the README's table, ``guarded`` are method and path of routes without parameters. With
    ``token_header`` (header and scheme), callers send the token of an identity provider; otherwise they send API keys.
    ``required`` are the claims that routes require, each with the name of the route;
    ``scope_claim`` is the one with scopes, ``scopes`` are those that routes require.
    """
    is_signed = token_header is None
    authentication = (
        WITH_KEY if token_header is None else WITH_TOKEN.format(header=token_header[0], prefix=token_header[1])
    )
    files = {
        "zuplo.jsonc": PROJECT,
        ".gitignore": IGNORED,
        "env.example": ENVIRONMENT
        + ("BACKEND_SECRET=\n" if any(row[1] == "BACKEND_SECRET" for row in settings) else ""),
        "package.json": _json(_package(slug, version)),
        "tsconfig.json": _json(_TYPESCRIPT),
        "docs/package.json": _json(_portal_package()),
        "docs/zudoku.config.tsx": PORTAL.format(title=json.dumps(title)),
        "docs/pages/introduction.mdx": INTRODUCTION.format(
            title=re.sub(r"[\\`*_{}<\[]", r"\\\g<0>", title), authentication=authentication
        ),
        "tests/origin.test.ts": TESTS.format(
            title=json.dumps(title)[1:-1],
            guarded="".join(f"\n  [{json.dumps(method)}, {json.dumps(path)}]," for method, path in guarded)
            + ("\n" if guarded else ""),
        ),
        "README.md": README.format(
            title=title,
            slug=slug,
            what=SIGNED if is_signed else PASSED,
            settings="\n".join(f"| {where} | `{name}` | `{value}` |" for where, name, value in settings),
            authentication=_consumers(sign, required, scope_claim, scopes) if is_signed else USERS,
        ),
    }
    return files | ({"modules/zuplo.runtime.ts": RUNTIME} if is_signed else {})


def _consumers(sign: str, required: list[tuple[str, Requirement]], scope_claim: str, scopes: list[str]) -> str:
    """Return what the README says on the metadata of consumers."""
    requirements = [each for _, each in required]
    metadata = gateway_claims.metadata(requirements, scope_claim, scopes)
    *others, last = [f"`{name}`" for name in {**metadata, **gateway_claims.selectors(requirements)}]
    lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in metadata.items()]
    shown = f"{{ {', '.join(lines)} }}" if len(lines) == 2 else "{\n  " + ",\n  ".join(lines) + "\n}"
    what = "These are the scopes of all routes; give a consumer those that it needs:" if scopes else "For example:"
    text = CONSUMERS.format(sign=sign, copied=f"{', '.join(others)} and {last}", what=what, metadata=shown)
    table = gateway_claims.table(required)
    return text + (REQUIRED.format(table=table) if table else "")


_TYPESCRIPT = {
    "include": ["modules/**/*", ".zuplo/**/*", "tests/**/*"],
    "exclude": ["./node_modules", "./dist"],
    "compilerOptions": {
        "module": "ESNext",
        "target": "ES2022",
        "lib": ["ESNext", "WebWorker", "Webworker.Iterable"],
        "moduleResolution": "Bundler",
        "noEmit": True,
        "strict": True,
        "skipLibCheck": True,
    },
}


def _package(slug: str, version: str) -> dict[str, Any]:
    return {
        "name": f"{slug}-gateway",
        "version": version,
        "private": True,
        "type": "module",
        "workspaces": ["docs"],
        "scripts": {"dev": "zuplo dev", "docs": "npm run dev --workspace docs", "test": "zuplo test"},
        "dependencies": {"zuplo": "^7"},
        "devDependencies": {"@types/chai": "^5", "chai": "^5", "typescript": "^5"},
    }


def _portal_package() -> dict[str, Any]:
    return {
        "name": "docs",
        "version": "0.1.0",
        "private": True,
        "type": "module",
        "scripts": {"dev": "zudoku dev --zuplo", "build": "zudoku build --zuplo"},
        "dependencies": {"react": "^19", "react-dom": "^19", "zudoku": "^0.76"},
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
