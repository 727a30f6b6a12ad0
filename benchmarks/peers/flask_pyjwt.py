"""Flask with PyJWT and its PyJWKClient."""

import os
from functools import wraps

import jwt
from flask import Flask, g, jsonify, request

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]
keys = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", cache_jwk_set=True, lifespan=600)
app = Flask(__name__)


def rejected(text, challenge):
    response = jsonify(error=text)
    response.status_code = 401
    response.headers["WWW-Authenticate"] = challenge
    return response


def guarded(view):
    @wraps(view)
    def checked():
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return rejected("No token provided", "Bearer")
        try:
            key = keys.get_signing_key_from_jwt(token)
            algorithms = ["RS256", "ES256", "EdDSA"]
            g.user = jwt.decode(token, key, algorithms=algorithms, issuer=ISSUER, audience=AUDIENCE)
        except jwt.PyJWTError:
            return rejected("Invalid token", 'Bearer error="invalid_token"')
        return view()

    return checked


@app.get("/protected")
@guarded
def protected():
    return jsonify(message="Access granted", user=g.user)


@app.post("/echo")
@guarded
def echo():
    return jsonify(request.get_json())
