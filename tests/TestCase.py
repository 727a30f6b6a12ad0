"""For tests of controllers: requests through the real application, with real tokens."""

import json
import unittest
from typing import Any

from masonite.tests.HttpTestResponse import HttpTestResponse

from app.foundation.Response import Response
from tests.support.gateway import GATEWAY
from tests.support.wsgi_client import request


class TestCase(unittest.TestCase):
    """`self.acting_as(scope="read:orders", sub="user-1").get("/orders").assertOk()`

    Each request goes through the application as a server would send it, guard and all. What comes back is Masonite's
    test response: `assertOk`, `assertForbidden`, `assertJson`, `assertJsonPath`, `assertHasHeader`, …
    """

    def setUp(self) -> None:
        from wsgi import application

        self.application = application
        self.headers: dict[str, str] = {}

    def acting_as(self, scope: str = "", sub: str = "tester", **claims: Any) -> "TestCase":
        """Send a token with every request from here on, signed by a gateway that the application believes.

        `scope` holds scopes separated by blanks; `claims` are further ones, or others than usual: `exp=1` for a token
        that has expired; `None` takes one away.
        """
        token = GATEWAY.token(scope=scope or None, sub=sub, **claims)
        self.headers["Authorization"] = f"Bearer {token}"
        return self

    def with_headers(self, **headers: str) -> "TestCase":
        """Send these headers too, a hyphen written as an underscore: `with_headers(zp_rid="1")`."""
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self

    def get(self, path: str) -> HttpTestResponse:
        return self.request("GET", path)

    def post(self, path: str, data: Any = None) -> HttpTestResponse:
        return self.request("POST", path, data)

    def put(self, path: str, data: Any = None) -> HttpTestResponse:
        return self.request("PUT", path, data)

    def patch(self, path: str, data: Any = None) -> HttpTestResponse:
        return self.request("PATCH", path, data)

    def delete(self, path: str) -> HttpTestResponse:
        return self.request("DELETE", path)

    def request(self, method: str, path: str, data: Any = None) -> HttpTestResponse:
        """Send a request, with `data` as JSON where there is any."""
        body = None if data is None else json.dumps(data).encode()
        headers = self.headers | ({"Content-Type": "application/json"} if body is not None else {})
        answer = request(self.application, method, path, headers, body)
        response = Response(self.application)
        response.status(answer.status).with_headers(dict(answer.header_list))
        response.content = answer.body
        return HttpTestResponse(self, self.application, None, response, None)
