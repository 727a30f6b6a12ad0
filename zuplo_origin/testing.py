"""Tests of controllers: requests through the whole application, with tokens of an issuer on loopback.

``prepare_environment`` configures the application for tests; ``tests/conftest.py`` calls it before a test imports
``wsgi``. ``TestCase`` sends the requests.
"""

import atexit
import importlib
import json
import os
import shutil
import tempfile
import time
import unittest
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pprint import pformat
from secrets import token_urlsafe
from typing import Any, NoReturn

import pendulum
from masonite.headers import Header
from masonite.routes import Route
from masonite.tests.HttpTestResponse import HttpTestResponse
from masonite.tests.TestCommand import TestCommand
from werkzeug.datastructures import Headers
from werkzeug.http import dump_cookie, parse_date
from werkzeug.test import EnvironBuilder, run_wsgi_app

from zuplo_origin.dev.issuer import IssuerKeys, IssuerServer
from zuplo_origin.http.application import REQUEST
from zuplo_origin.http.requests import Request
from zuplo_origin.http.responses import Response
from zuplo_origin.settings import is_setting

AUDIENCE = "https://api.test/"
LIFE = 300
"""Seconds until a token expires."""

_issuers: list["TestIssuer"] = []


class TestIssuer:
    """An issuer that serves its keys over HTTP on loopback, from a thread."""

    __test__ = False  # pytest would collect it

    def __init__(self) -> None:
        self._keys = IssuerKeys.generated()
        self.name = IssuerServer(self._keys.public(("EdDSA",))).issuer

    def token(self, **claims: Any) -> str:
        """Return an accepted token. ``claims`` adds claims or replaces the usual ones; ``None`` removes a claim."""
        now = int(time.time())
        usual = {"iss": self.name, "sub": "tester", "aud": AUDIENCE, "iat": now, "exp": now + LIFE}
        return self._keys.sign({name: each for name, each in (usual | claims).items() if each is not None}, "EdDSA")

    def forged_token(self, **claims: Any) -> str:
        """Return a token as an untrusted client would make it: with other claims under the signature of a real one."""
        header, _, signature = self.token().split(".")
        _, payload, _ = self.token(**claims | {"jti": "forged"}).split(".")
        return f"{header}.{payload}.{signature}"


def prepare_environment(**settings: str) -> None:
    """Start the issuer, and set the environment so that the application accepts its tokens.

    The developer's own settings are removed from the environment, so that they do not change the results of tests.
    ``settings`` are added. ``APP_KEY`` is a new one. ``DATABASE_URL`` is ``TEST_DATABASE_URL``, or an empty SQLite
    database that is removed at the end: tests never write to the developer's database.
    """
    if not _issuers:
        _issuers.append(TestIssuer())
    for name in list(os.environ):
        if is_setting(name):
            del os.environ[name]
    os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or _empty_database()
    usual = {"APP_ENV": "testing", "APP_KEY": token_urlsafe(32), "JWT_ISSUER": issuer().name, "JWT_AUDIENCE": AUDIENCE}
    os.environ.update(usual | settings)


def _empty_database() -> str:
    folder = tempfile.mkdtemp(prefix="tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return f"sqlite:///{folder}/tests.sqlite3"


def issuer() -> TestIssuer:
    """Return the issuer whose tokens the application accepts."""
    return _issuers[0]


class TestResponse(HttpTestResponse):
    """Masonite's test response: ``assertOk``, ``assertJsonPath``, ``assertHasHeader``, ``assertIsNamed`` and others.

    ``request`` is the request as the controller received it, and ``route`` its route: ``None`` if there is none.
    ``set_cookies`` are the values of its ``Set-Cookie`` headers. The assertions on cookies read them; Masonite's own
    read the cookies of the request.
    """

    __test__ = False  # pytest would collect it

    set_cookies: tuple[str, ...] = ()

    def json(self) -> Any:
        """Return the JSON value of the body. Raises ``ValueError`` if it is not JSON."""
        return json.loads(self.response.content)

    def assertIsStatus(self, status: int) -> "TestResponse":
        """Assert that the status is ``status``. The message has the beginning of the body, which says why."""
        assert self.response.is_status(status), self._unexpected(status)  # noqa: S101
        return self

    def assertSuccessful(self) -> "TestResponse":
        """Assert that the status is from 200 to 299. Masonite's own compares its text with numbers."""
        assert self.response.get_status_code()[0] == "2", self._unexpected("2xx")  # noqa: S101
        return self

    def _unexpected(self, asserted: object) -> str:
        body = bytes(self.response.content or b"")[:1000].decode("utf-8", "replace")
        return f"Status is {self.response.get_status_code()}. Asserted {asserted}. The body is {body!r}"

    def assertJsonCount(self, count: int, key: str | None = None) -> "TestResponse":
        """Assert how many members or items the JSON, or its member ``key``, has. Masonite's own counts members only."""
        found = self._ensure_response_is_json()
        found = found if key is None else found.get(key, {})
        assert len(found) == count, f"JSON count is {len(found)}. Asserted {count}."  # noqa: S101
        return self

    def _cookie(self, name: str) -> dict[str, str] | None:
        """Return the value (under ``""``) and the attributes of a cookie that the response sets."""
        for field in reversed(self.set_cookies):
            pair, *attributes = field.split(";")
            found, _, value = pair.partition("=")
            if found.strip() == name:
                parts = (each.partition("=") for each in attributes)
                return {key.strip().lower(): text.strip() for key, _, text in parts} | {"": value.strip()}
        return None

    def _set_cookie(self, name: str) -> dict[str, str]:
        cookie = self._cookie(name)
        assert cookie is not None, f"The response does not set the cookie {name}."  # noqa: S101
        return cookie

    def _is_expired(self, name: str) -> bool:
        expires = parse_date(self._set_cookie(name).get("expires"))
        return expires is not None and expires <= datetime.now(timezone.utc)

    def assertCookie(self, name: str, value: str | None = None) -> "TestResponse":
        """Assert that the response sets the cookie ``name``, and to ``value`` if it is given."""
        found = self._set_cookie(name)[""]
        assert value is None or found == value, f"Cookie {name} is {found}. Asserted {value}"  # noqa: S101
        return self

    def assertPlainCookie(self, name: str) -> "TestResponse":
        """Assert that the response sets the cookie without ``Secure``."""
        assert "secure" not in self._set_cookie(name), f"Cookie {name} is secure."  # noqa: S101
        return self

    def assertCookieExpired(self, name: str) -> "TestResponse":
        """Assert that the response deletes the cookie."""
        assert self._is_expired(name), f"Cookie {name} is not expired."  # noqa: S101
        return self

    def assertCookieNotExpired(self, name: str) -> "TestResponse":
        """Assert that the response sets the cookie, and does not delete it."""
        assert not self._is_expired(name), f"Cookie {name} is expired."  # noqa: S101
        return self

    def assertCookieMissing(self, name: str) -> "TestResponse":
        """Assert that the response neither sets nor deletes the cookie."""
        assert self._cookie(name) is None, f"The response sets the cookie {name}."  # noqa: S101
        return self

    def assertRouteHasParameter(self, key: str, value: Any = None) -> "TestResponse":
        """Assert that the route has the parameter ``key``, and that its value, as text, is ``value`` as text."""
        assert key in self.route.url_list, f"Route does not contain parameter {key}."  # noqa: S101
        if value is not None:
            found = self.request.param(key)
            assert str(found) == str(value), f"Parameter {key} is {found}. Asserted {value}"  # noqa: S101
        return self


UNITS = ("seconds", "minutes", "hours", "days", "weeks", "months", "years")
"""The units of ``fakeTimeInFuture`` and ``fakeTimeInPast``."""
_ZONE = timezone(timedelta(hours=1))
"""A zone that time-machine does not make the zone of the process, as it does with UTC and named ones."""


class Clock(unittest.TestCase):
    """Sets the clock of the process for one test, in Masonite's words; the clock stands still until it is set again.

    ``time.time``, ``datetime`` and ``pendulum`` return the time that is set, in all threads. Waits, timeouts and
    measured durations go on: they use ``time.monotonic``.
    """

    _traveller: Any = None

    def fakeTime(self, moment: datetime | None = None) -> datetime:
        """Set the clock to ``moment`` (of UTC if it has no zone), or stop it now. Return the time that it shows."""
        moment = pendulum.now() if moment is None else moment
        if not isinstance(moment, datetime):
            raise TypeError(f"fakeTime: invalid value {moment!r}; expected a datetime: pendulum.datetime(2030, 1, 31)")
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        destination = datetime.fromtimestamp(0, _ZONE) + (zoned - datetime.fromtimestamp(0, timezone.utc))
        if self._traveller is None:
            travel = _time_machine().travel(destination, tick=False)
            self._traveller = travel.start()
            self._stop_travel = travel.stop
            self.addCleanup(self.restoreTime)
        else:
            self._traveller.move_to(destination)
        shown: datetime = pendulum.now(moment.tzinfo)
        return shown

    def fakeTimeTomorrow(self) -> datetime:
        """Set the clock to the beginning of tomorrow."""
        return self.fakeTime(pendulum.tomorrow())

    def fakeTimeYesterday(self) -> datetime:
        """Set the clock to the beginning of yesterday."""
        return self.fakeTime(pendulum.yesterday())

    def fakeTimeInFuture(self, offset: float, unit: str = "days") -> datetime:
        """Set the clock to ``offset`` units after the real time: ``fakeTimeInFuture(10, "minutes")``."""
        return self._fake_time_beside_now("fakeTimeInFuture", offset, unit)

    def fakeTimeInPast(self, offset: float, unit: str = "days") -> datetime:
        """Set the clock to ``offset`` units before the real time."""
        return self._fake_time_beside_now("fakeTimeInPast", -offset, unit)

    def _fake_time_beside_now(self, method: str, offset: float, unit: str) -> datetime:
        if unit not in UNITS:
            raise ValueError(f"{method}: invalid unit {unit!r}; expected {', '.join(UNITS)}")
        self.restoreTime()
        return self.fakeTime(pendulum.now().add(**{unit: offset}))

    def restoreTime(self) -> None:
        """Set the clock back to the real time. The end of a test does so too."""
        if self._traveller is not None:
            self._traveller = None
            self._stop_travel()


def _time_machine() -> Any:
    try:
        return importlib.import_module("time_machine")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the clock of a test needs the package time-machine; add it to requirements-dev.txt"
        ) from None


_NONE = object()


def _put_back(objects: dict[Any, Any], key: Any, value: Any) -> None:
    if value is _NONE:
        objects.pop(key, None)
    else:
        objects[key] = value


class TestCase(Clock):
    """Sends requests: ``self.acting_as(scope="read:orders", sub="user-1").get("/orders").assertOk()``.

    Each request passes through the whole application, the guard included, and returns a ``TestResponse``. A streamed
    response is read to its end.
    """

    def setUp(self) -> None:
        from wsgi import application

        self.application = application
        self.headers = Headers()
        if hasattr(self, "startTestRun"):  # of Masonite's DatabaseTransactions
            transactions: Any = self
            transactions.startTestRun()
            self.addCleanup(transactions.stopTestRun)
        self._faked: dict[str, tuple[Any, Any]] = {}

    def acting_as(self, scope: str | Mapping[str, Any] = "", sub: str | None = "tester", **claims: Any) -> "TestCase":
        """Send a valid token with each request from now on.

        ``scope`` contains scopes separated by spaces, or all claims: ``acting_as({"sub": "user-1", "role": "admin"})``.
        ``claims`` adds or replaces claims: ``exp=1`` makes an expired token. ``None`` removes a claim: ``sub=None``
        makes a token without ``sub``.
        """
        given = dict(scope) if isinstance(scope, Mapping) else {"scope": scope or None}
        self.headers["Authorization"] = f"Bearer {issuer().token(**{'sub': sub} | given | claims)}"
        return self

    def with_expired_token(self, **claims: Any) -> "TestCase":
        """Send a token that was valid an hour ago."""
        return self.acting_as(claims, iat=int(time.time()) - 3600 - LIFE, exp=int(time.time()) - 3600)

    def with_forged_token(self, **claims: Any) -> "TestCase":
        """Send a token that the issuer has not signed, under the id of its key."""
        self.headers["Authorization"] = f"Bearer {issuer().forged_token(**claims)}"
        return self

    def with_token_of_another_audience(self, **claims: Any) -> "TestCase":
        """Send a token of the issuer for another origin."""
        return self.acting_as(claims, aud="https://another.test/")

    def with_headers(self, headers: Mapping[str, str] | None = None, **named: str) -> "TestCase":
        """Send these headers too: ``with_headers({"zp-rid": "1"})`` or ``with_headers(zp_rid="1")``."""
        for name, value in {**(headers or {}), **{name.replace("_", "-"): named[name] for name in named}}.items():
            self.headers[name] = value
        return self

    def with_cookies(self, cookies: Mapping[str, str]) -> "TestCase":
        """Send these cookies, and no others, with each request from now on."""
        self.headers["Cookie"] = "; ".join(dump_cookie(name, cookies[name], path=None) for name in cookies)
        return self

    def add_routes(self, *routes: Any) -> "TestCase":
        """Add routes for this test. They come after the application's."""
        router = self.application.make("router")
        self.addCleanup(setattr, router, "routes", router.routes)
        router.add(Route.group(*routes))
        return self

    def set_routes(self, *routes: Any) -> "TestCase":
        """Replace all routes for this test."""
        router = self.application.make("router")
        self.addCleanup(setattr, router, "routes", router.routes)
        router.set(Route.group(*routes))
        return self

    def craft(self, command: str, arguments: str = "") -> TestCommand:
        """Run a craft command: ``self.craft("routes:list").assertOutputContains("/orders")``."""
        return TestCommand(self.application).run(command, arguments)

    def fake(self, binding: str) -> Any:
        """Replace ``mail``, ``notification``, ``queue``, ``event`` or ``storage`` by its fake for this test.

        Return the fake. It has the assertions.
        """
        if not self.application.has(f"mock.{binding}"):
            raise LookupError(
                f"there is no fake of {binding!r}; name the provider of the service in config/providers.py"
            )
        fake, objects = self.application.make(f"mock.{binding}"), self.application.objects
        fake.reset()
        if binding not in self._faked:
            self._faked[binding] = objects.scoped.get(binding), objects.shared.get(binding)
            self.addCleanup(self.restore, binding)
        self.application.bind(binding, fake)
        return fake

    def restore(self, binding: str) -> None:
        """Replace the fake of a service by the service. Does nothing if there is no fake."""
        if binding in self._faked:
            scoped, shared = self._faked.pop(binding)
            if scoped is not None:
                self.application.scoped(binding, *scoped)
            else:
                self.application.bind(binding, shared)

    def swap(self, key: Any, value: Any) -> Any:
        """Bind ``key`` to ``value`` for this test, in place of what is bound, and return ``value``.

        ``key`` is the name of a binding, or a class that actions and constructors are annotated with.
        """
        application = self.application
        if isinstance(key, type):
            before = application.swaps.get(key, _NONE)
            self.addCleanup(_put_back, application.swaps, key, before)
            application.swap(key, value)
            return value
        scoped, shared = application.objects.scoped.get(key), application.objects.shared.get(key, _NONE)
        self.addCleanup(_put_back, application.objects.shared, key, shared)
        if scoped is not None:
            self.addCleanup(application.scoped, key, *scoped)
        application.bind(key, value)
        return value

    def _rows(self, table: str, connection: str | None = None) -> Any:
        database = self.application.make("database")
        return database.get_query_builder(connection or getattr(self, "connection", "default")).table(table)

    def assertDatabaseCount(self, table: str, count: int) -> None:
        """Assert how many rows a table has, in the connection of Masonite's ``DatabaseTransactions``."""
        self.assertEqual(self._rows(table).count(), count, f"the number of rows in {table}")

    def assertDatabaseHas(self, table: str, query_dict: dict[str, Any]) -> None:
        """Assert that a row of a table has these values."""
        self.assertGreaterEqual(self._rows(table).where(query_dict).count(), 1, f"no row of {table} has {query_dict}")

    def assertDatabaseMissing(self, table: str, query_dict: dict[str, Any]) -> None:
        """Assert that no row of a table has these values."""
        self.assertEqual(self._rows(table).where(query_dict).count(), 0, f"a row of {table} has {query_dict}")

    def _row_of(self, instance: Any) -> Any:
        rows = self._rows(instance.get_table_name(), instance.__connection__)
        return rows.where(instance.get_primary_key(), instance.get_primary_key_value()).first()

    def assertDeleted(self, instance: Any) -> None:
        """Assert that the row of a model is not in its table."""
        self.assertIsNone(self._row_of(instance), "the row is not deleted")

    def assertSoftDeleted(self, instance: Any) -> None:
        """Assert that the row of a model with ``SoftDeletesMixin`` is in its table, and marked as deleted."""
        row = self._row_of(instance)
        self.assertIsNotNone(row, "there is no row")
        self.assertIsNotNone(row[instance.get_deleted_at_column()], "the row is not marked as deleted")

    # Masonite's names
    actingAs = acting_as
    withHeaders = with_headers
    withCookies = with_cookies
    addRoutes = add_routes
    setRoutes = set_routes

    def dump(self, output: Any, title: str = "") -> None:
        """Print ``output``, for the ``dump…`` methods of a response. pytest shows it if the test fails."""
        print(f"> {title}:\n{pformat(output, width=110)}")

    def stop(self, message: str = "") -> NoReturn:
        """End the test run, for the ``dd…`` methods of a response."""
        import pytest

        pytest.exit(message, 2)

    def get(self, path: str) -> TestResponse:
        return self.request("GET", path)

    def head(self, path: str) -> TestResponse:
        return self.request("HEAD", path)

    def options(self, path: str) -> TestResponse:
        return self.request("OPTIONS", path)

    def post(self, path: str, data: Any = None, **body: Any) -> TestResponse:
        return self.request("POST", path, data, **body)

    def put(self, path: str, data: Any = None, **body: Any) -> TestResponse:
        return self.request("PUT", path, data, **body)

    def patch(self, path: str, data: Any = None, **body: Any) -> TestResponse:
        return self.request("PATCH", path, data, **body)

    def delete(self, path: str, data: Any = None, **body: Any) -> TestResponse:
        return self.request("DELETE", path, data, **body)

    def request(
        self,
        method: str,
        path: str,
        data: Any = None,
        *,
        body: bytes | str | None = None,
        content_type: str | None = None,
    ) -> TestResponse:
        """Send a request: with ``data`` as JSON, or with ``body`` as ``content_type``, or without a body.

        The default of ``content_type`` is the header that ``with_headers`` sets, or ``application/json``.
        """
        headers = self.headers.copy()
        if data is not None:
            body = json.dumps(data)
        if body is not None:
            headers["Content-Type"] = content_type or headers.get("Content-Type", "application/json")
        environ = EnvironBuilder(
            path=path, method=method, headers=headers, data=body, environ_base={"REMOTE_ADDR": "127.0.0.1"}
        ).get_environ()
        requests: list[Request] = []

        def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            environ[REQUEST] = Request(environ)
            requests.append(environ[REQUEST])
            return self.application(environ, start_response)

        chunks, status, sent = run_wsgi_app(application, environ, buffered=True)
        response = Response(self.application)
        response.status(int(status[:3]))
        for name, value in sent.items():
            response.header_bag.add(Header(name, value))
        response.content = b"".join(chunks)
        made = TestResponse(self, self.application, requests[0], response, requests[0].route)
        made.set_cookies = tuple(sent.getlist("Set-Cookie"))
        return made
