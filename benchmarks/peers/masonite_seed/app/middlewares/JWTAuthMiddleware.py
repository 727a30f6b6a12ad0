import os

import requests
from cachetools import TTLCache
from jose import jwt
from jose.exceptions import ExpiredSignatureError, JWTError
from masonite.middleware import Middleware

ISSUER = os.environ["ISSUER"]
JWKS_URL = f"{ISSUER}/.well-known/jwks.json"
cache = TTLCache(maxsize=10, ttl=600)


def key_for(token):
    if JWKS_URL not in cache:
        response = requests.get(JWKS_URL)  # noqa: S113  # as published
        response.raise_for_status()
        cache[JWKS_URL] = response.json()
    kid = jwt.get_unverified_header(token)["kid"]
    for key in cache[JWKS_URL]["keys"]:
        if key["kid"] == kid:
            return key
    raise JWTError("Unable to find appropriate key")


class JWTAuthMiddleware(Middleware):
    def before(self, request, response):
        header = request.header("Authorization")
        if not header or not header.startswith("Bearer "):
            return response.json({"error": "No token provided"}, status=401)
        token = header[7:]
        try:
            algorithms, options = ["RS256"], {"verify_aud": False}
            request.user = jwt.decode(token, key_for(token), algorithms=algorithms, issuer=ISSUER, options=options)
        except ExpiredSignatureError:
            return response.json({"error": "Token has expired"}, status=401)
        except JWTError as error:
            return response.json({"error": "Invalid token", "details": str(error)}, status=401)
        return request

    def after(self, request, response):
        return request
