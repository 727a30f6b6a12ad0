"""Starlette with joserfc: keys fetched once in ten minutes, signatures checked on the event loop."""

import asyncio
import os
import time

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

ISSUER, AUDIENCE, TTL = os.environ["ISSUER"], os.environ["AUDIENCE"], 600
ALGORITHMS = ["RS256", "ES256", "EdDSA"]
rules = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}, exp={"essential": True}
)


class Keys:
    def __init__(self):
        self.cached, self.fetched, self.lock = None, 0.0, asyncio.Lock()

    async def get(self):
        if self.cached is None or time.monotonic() - self.fetched > TTL:
            async with self.lock, httpx.AsyncClient(timeout=5) as client:
                response = await client.get(f"{ISSUER}/.well-known/jwks.json")
                self.cached, self.fetched = KeySet.import_key_set(response.raise_for_status().json()), time.monotonic()
        return self.cached


keys = Keys()


def guarded(action):
    async def guard(request):
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            return JSONResponse({"error": "No token provided"}, 401, {"WWW-Authenticate": "Bearer"})
        try:
            claims = jwt.decode(token, await keys.get(), algorithms=ALGORITHMS).claims
            rules.validate(claims)
        except (JoseError, ValueError):
            return JSONResponse({"error": "Invalid token"}, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return await action(request, claims)

    return guard


@guarded
async def protected(request, claims):
    return JSONResponse({"message": "Access granted", "user": claims})


@guarded
async def echo(request, claims):
    return JSONResponse(await request.json())


app = Starlette(routes=[Route("/protected", protected), Route("/echo", echo, methods=["POST"])])
