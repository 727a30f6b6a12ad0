"""FastAPI with PyJWT: the dependency is a plain function, as in its documentation, and runs in a thread."""

import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]
keys = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", cache_jwk_set=True, lifespan=600)
app = FastAPI()


def user(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]):
    token = credentials.credentials
    try:
        key = keys.get_signing_key_from_jwt(token)
        algorithms = ["RS256", "ES256", "EdDSA"]
        return jwt.decode(token, key, algorithms=algorithms, issuer=ISSUER, audience=AUDIENCE)
    except jwt.PyJWTError:
        raise HTTPException(401, "Invalid token", {"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None


@app.get("/protected")
async def protected(claims: Annotated[dict, Depends(user)]):
    return {"message": "Access granted", "user": claims}


@app.post("/echo")
async def echo(body: dict, claims: Annotated[dict, Depends(user)]):
    return body
