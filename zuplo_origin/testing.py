"""Tests of controllers: requests through the whole application, with real tokens of a real issuer.

``prepare_environment`` configures the application for tests; ``tests/conftest.py`` calls it before anything imports
``wsgi``. ``TestCase`` sends the requests.
"""

import json
import os
import time
import unittest
from collections.abc import Mapping
from typing import Any

from masonite.tests.HttpTestResponse import HttpTestResponse
from werkzeug.test import EnvironBuilder, run_wsgi_app

from zuplo_origin.dev.issuer import IssuerKeys, IssuerServer
from zuplo_origin.http.responses import Response
from zuplo_origin.settings import is_setting

AUDIENCE = "https://api.test/"
LIFE = 300
"""Seconds until a token expires."""

_issuers: list["TestIssuer"] = []


class TestIssuer:
    """An issuer that serves its keys over HTTP on loopback, from a thread."""

    __test__ = False  # for pytest

    def __init__(self) -> None:
        self._keys = IssuerKeys.generated()
        self.name = IssuerServer(self._keys.public(("EdDSA",))).issuer

    def token(self, **claims: Any) -> str:
        """Return a token that is accepted, unless ``claims`` say otherwise; a claim that is ``None`` is left out."""
        now = int(time.time())
        usual = {"iss": self.name, "sub": "tester", "aud": AUDIENCE, "iat": now, "exp": now + LIFE}
        return self._keys.sign({name: each for name, each in (usual | claims).items() if each is not None}, "EdDSA")


def prepare_environment(**settings: str) -> None:
    """Start the issuer, and set the environment so that the application accepts its tokens.

    Settings of the developer's own environment are removed, so that they do not change what the tests see.
    ``settings`` are added.
    """
    if not _issuers:
        _issuers.append(TestIssuer())
    for name in list(os.environ):
        if is_setting(name):
            del os.environ[name]
    os.environ.update({"APP_ENV": "testing", "JWT_ISSUER": issuer().name, "JWT_AUDIENCE": AUDIENCE} | settings)


def issuer() -> TestIssuer:
    """Return the issuer whose tokens the application accepts."""
    return _issuers[0]


class TestCase(unittest.TestCase):
    """``self.acting_as(scope="read:orders", sub="user-1").get("/orders").assertOk()``

    Each request passes through the whole application, the guard included. The result is Masonite's test response:
    ``assertOk``, ``assertForbidden``, ``assertJson``, ``assertJsonPath``, ``assertHasHeader``, ``assertIsNamed`` …
    """

    def setUp(self) -> None:
        from wsgi import application

        self.application = application
        self.headers: dict[str, str] = {}
        self._seen: list[tuple[Any, Any]] = []
        observers = application.make("observers")
        observers.append(self._observe)
        self.addCleanup(observers.remove, self._observe)

    def _observe(self, request: Any, status: int, seconds: float) -> None:
        self._seen.append((request, self.application.make("response")))

    def acting_as(self, scope: str = "", sub: str = "tester", **claims: Any) -> "TestCase":
        """Send a valid token with each request from now on.

        ``scope`` holds scopes separated by spaces. ``claims`` are added or replaced: ``exp=1`` makes a token that has
        expired, ``sub=None`` one without ``sub``.
        """
        self.headers["Authorization"] = f"Bearer {issuer().token(scope=scope or None, sub=sub, **claims)}"
        return self

    def with_headers(self, headers: Mapping[str, str] | None = None, **named: str) -> "TestCase":
        """Send these headers too: ``with_headers({"zp-rid": "1"})``, or ``with_headers(zp_rid="1")``."""
        self.headers |= {**(headers or {}), **{name.replace("_", "-"): value for name, value in named.items()}}
        return self

    actingAs = acting_as  # Masonite's spelling
    withHeaders = with_headers

    def get(self, path: str) -> HttpTestResponse:
        return self.request("GET", path)

    def head(self, path: str) -> HttpTestResponse:
        return self.request("HEAD", path)

    def options(self, path: str) -> HttpTestResponse:
        return self.request("OPTIONS", path)

    def post(self, path: str, data: Any = None, **body: Any) -> HttpTestResponse:
        return self.request("POST", path, data, **body)

    def put(self, path: str, data: Any = None, **body: Any) -> HttpTestResponse:
        return self.request("PUT", path, data, **body)

    def patch(self, path: str, data: Any = None, **body: Any) -> HttpTestResponse:
        return self.request("PATCH", path, data, **body)

    def delete(self, path: str, data: Any = None, **body: Any) -> HttpTestResponse:
        return self.request("DELETE", path, data, **body)

    def request(
        self,
        method: str,
        path: str,
        data: Any = None,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> HttpTestResponse:
        """Send a request: with ``data`` as JSON, or with the bytes ``body`` as ``content_type``."""
        if data is not None:
            body = json.dumps(data).encode()
        builder = EnvironBuilder(path=path, method=method, headers=list(self.headers.items()), data=body)
        if body is not None:
            builder.content_type = content_type
        environ = builder.get_environ()
        self._seen.clear()
        chunks, status, headers = run_wsgi_app(self.application, environ, buffered=True)
        request, response = self._seen[0] if self._seen else (None, Response(self.application))
        response.status(int(status[:3])).with_headers(dict(headers))
        response.content = b"".join(chunks)
        return HttpTestResponse(self, self.application, request, response, request.route if request else None)
