"""Each row of the table in `docs/services.md`: a chapter of Masonite's documentation, and how it works here."""

import ast
import inspect
import logging
import os
import re
import sys
import threading
import types
from pathlib import Path

import pytest
from masonite import facades as masonite_facades  # pytest would inspect the classes, and they import wsgi
from masonite.authorization import Policy
from masonite.commands import Command
from masonite.environment import env
from masonite.exceptions import InvalidToken
from masonite.middleware import CorsMiddleware as MasoniteCors
from masonite.middleware import LoadUserMiddleware, SessionMiddleware, VerifyCsrfToken
from masonite.packages.providers import PackageProvider
from masonite.providers import BroadcastProvider, SessionProvider, WhitenoiseProvider
from masonite.request import Request
from masonite.routes import Route
from masonite.tests import HttpTestResponse
from masonite.validation import Validator

from package_tests.support.applications import EchoController, Probe, application
from package_tests.support.servers import ROOT
from package_tests.support.wsgi_client import request
from zuplo_origin import services
from zuplo_origin.commands.stock import bind_locations
from zuplo_origin.craft import prepare_environment
from zuplo_origin.dev.commands.generators import generator_commands
from zuplo_origin.http import HttpException
from zuplo_origin.http.errors import ValidationFailed
from zuplo_origin.http.kernel import Configuration, Provider
from zuplo_origin.http.routing import RouteError
from zuplo_origin.services import (
    AuthorizationProvider,
    CacheProvider,
    CorsMiddleware,
    EncryptCookies,
    EncryptionProvider,
    EventProvider,
    HashServiceProvider,
    HelpersProvider,
    LoggingProvider,
    RateProvider,
    ThrottleRequestsMiddleware,
    ValidationProvider,
    compact,
)
from zuplo_origin.services.rejected import MIDDLEWARE, PROVIDERS
from zuplo_origin.services.start import CANNOT_START
from zuplo_origin.testing import TestCase, TestResponse

PAGE = ROOT / "docs" / "services.md"
STATUSES = {"works", "works, with a difference", "rejected at start", "not available"}


def rows():
    section = PAGE.read_text().partition("## Find a chapter")[2].partition("\n## ")[0]
    table = re.findall(r"^\|(.+)\|$", section, re.MULTILINE)[2:]
    return {cells[0]: cells[1:] for cells in [[cell.strip() for cell in row.split("|")] for row in table]}


ROWS = rows()


class Actions(EchoController):
    action = None

    def run(self, request: Request):
        return type(self).action(request)


def made(action=None, *providers, http_middleware=(), **values):
    """Return an application whose route `/run` calls `action` with the request, with configuration and providers."""
    Actions.action = action
    built = application(Route.get("/run", Actions.run), http_middleware=http_middleware)
    configuration = Configuration(None)
    for name, value in values.items():
        configuration.set(name.replace("__", "."), value)
    built.bind("config", configuration)
    built.base_path = values.get("base", "/nowhere")
    built.add_providers(*providers)
    return built


def run(action, *providers, **values):
    """Return what `action` returns during a request."""
    response = request(made(action, *providers, **values), "GET", "/run?name=pen")
    assert response.status == 200, response.body
    return response.json


@pytest.fixture
def facades(monkeypatch):
    """Return a function that makes an application the one that facades find."""

    def use(built):
        monkeypatch.setitem(sys.modules, "wsgi", types.SimpleNamespace(application=built))
        return built

    return use


def rejects(capsys, *classes):
    """Return whether the application starts with none of `classes`, and the table has a sentence for each."""
    for each in classes:
        built = application()
        is_middleware = each.__name__ in MIDDLEWARE
        if is_middleware:
            built.make("middleware").add({"other": each})
        with pytest.raises(SystemExit) as end:
            built.add_providers(*([] if is_middleware else [each]))
        assert end.value.code == CANNOT_START
        assert (MIDDLEWARE if is_middleware else PROVIDERS)[each.__name__].split("{")[0] in capsys.readouterr().err


# -- one function for each row ----------------------------------------------------------------------------------------


def check_routing(**_):
    built = application(Route.get("/orders/@id:int", EchoController.params))
    found = [request(built, "GET", path).status for path in ("/orders/1", "/orders/a", "/orders/1/", "/orders")]
    assert found == [200, 404, 404, 404]
    assert request(built, "POST", "/orders/1").status == 405
    with pytest.raises(RouteError, match="domain"):
        application(Route.get("/", EchoController.plain).domain("a"))


def check_controllers(**_):
    assert run(lambda request: {"name": request.input("name")}) == {"name": "pen"}


def check_middleware(**_):
    built = application(Route.get("/run", EchoController.plain).middleware("probe:a,b"), http_middleware=[Probe])
    request(built, "GET", "/run")
    request(built, "GET", "/missing")
    assert Probe.calls == [("before",), ("before", "a", "b"), ("after", "a", "b"), ("after",), ("before",), ("after",)]


def check_response(**_):
    def action(request):
        response = request.app.make("response")
        response.header("X-Request-Id", "1")
        return response.json({"a": 1}, status=201)

    response = request(made(action), "GET", "/run")
    assert (response.status, response.json, response.headers["x-request-id"]) == (201, {"a": 1}, "1")


def check_request(**_):
    found = run(lambda request: [request.input("name"), request.all(), request.only("name"), request.ip()])
    assert found == ["pen", {"name": "pen"}, {"name": "pen"}, None]


def check_static_files(capsys, **_):
    rejects(capsys, WhitenoiseProvider)


def check_environments(tmp_path, monkeypatch, **_):
    (tmp_path / ".env").write_text("CHAPTER_ONE=file\nCHAPTER_TWO=file\n")
    monkeypatch.setenv("CHAPTER_ONE", "process")
    monkeypatch.setenv("CHAPTER_TWO", "removed at the end")
    monkeypatch.delenv("CHAPTER_TWO")
    monkeypatch.setenv("APP_ENV", "local")
    prepare_environment(tmp_path, "")
    assert (env("CHAPTER_ONE"), env("CHAPTER_TWO")) == ("process", "file")
    os.environ.pop("CHAPTER_TWO")


def check_configuration(**_):
    assert run(lambda request: request.app.make("config").get("a.b.c"), a__b={"c": 1}) == 1


def check_error_handling(**_):
    def fails(request):
        raise HttpException(409, "an order with this number exists", {"X-A": "b"})

    response = request(made(fails), "GET", "/run")
    assert (response.status, response.json["details"]) == (409, "an order with this number exists")


def check_api_development(capsys, **_):
    from masonite.api.providers import ApiProvider

    rejects(capsys, ApiProvider)


def check_authentication(capsys, **_):
    from masonite.middleware import GuardMiddleware
    from masonite.providers import AuthenticationProvider

    rejects(capsys, AuthenticationProvider, LoadUserMiddleware, GuardMiddleware)


class Order:
    owner = "alice"


class OrderPolicy(Policy):
    def view(self, user, order):
        return user["sub"] == order.owner

    def remove(self, user, order):
        return self.deny("no", 404)


def check_authorization(facades, **_):
    def action(request):
        gate = request.app.make("gate")
        results = []
        for user in ({"sub": "alice"}, {"sub": "bob"}, None):
            request.set_user(user)
            gate.define("none", lambda user: False)
            found = (
                gate.allows("view", Order()),
                gate.denies("none"),
                gate.for_user({"sub": "alice"}).allows("view", Order()),
            )
            results.append(found)
        return results

    built = facades(made(action, AuthorizationProvider))
    built.make("gate").register_policies([(Order, OrderPolicy)])
    response = request(built, "GET", "/run")
    assert response.status == 200  # although some are denied
    assert response.json == [[True, True, True], [False, True, True], [False, True, True]]
    assert not built.make("gate").has("none")  # it was the request's own
    for action, status in ((lambda request: request.authorize("view", Order()), 403), (remove, 404)):
        Actions.action = action
        assert request(built, "GET", "/run").status == status
    assert masonite_facades.Gate.denies("view", Order())  # outside of a request, there is no user


def remove(request):
    request.set_user({"sub": "alice"})
    masonite_facades.Gate.authorize("remove", Order())


def check_broadcasting(capsys, **_):
    rejects(capsys, BroadcastProvider)


def check_caching(tmp_path, facades, **_):
    stores = {"default": "local", "local": {"driver": "file", "location": "cache"}}
    facades(made(None, CacheProvider, cache__stores=stores, base=str(tmp_path)))
    masonite_facades.Cache.put("user", {"name": "Joe"}, seconds=300)
    assert masonite_facades.Cache.get("user")["name"] == "Joe"
    assert (
        masonite_facades.Cache.add("age", 21),
        masonite_facades.Cache.increment("age"),
        masonite_facades.Cache.decrement("age"),
        masonite_facades.Cache.get("no", 40),
    ) == (21, 22, 21, 40)
    assert masonite_facades.Cache.remember("total", lambda cache: cache.put("total", 3, 300)) == 3
    assert masonite_facades.Cache.get("age", store="local") == 21
    assert masonite_facades.Cache.forever("name", "a") == masonite_facades.Cache.get("name")
    masonite_facades.Cache.flush()
    assert not masonite_facades.Cache.has("age")


def check_compiling_assets(**_):
    assert not made(None, HelpersProvider).has("mix")


class Greet(Command):
    """
    Greets.

    greet
    """

    def handle(self):
        self.line("hello")


class AddsCommand(Provider):
    def register(self):
        self.application.make("commands").add(Greet())


def check_commands(**_):
    built = made(None, AddsCommand)
    assert built.make("commands").command_application.find("greet").name == "greet"


def check_csrf_protection(capsys, **_):
    rejects(capsys, VerifyCsrfToken)


class OrderPlaced:
    pass


class Sends:
    sent = []  # noqa: RUF012

    def handle(self, event, *arguments):
        self.sent.append((event, *arguments))


def check_events(**_):
    Sends.sent.clear()

    def action(request):
        event = request.app.make("event")
        event.listen("of.this.request", Sends)
        event.fire("of.this.request", 1)
        event.fire("order.placed", 2)
        event.fire(OrderPlaced())

    built = made(action, EventProvider)
    built.make("event").listen("order.*", [Sends]).listen(OrderPlaced, Sends)
    assert request(built, "GET", "/run").status == 204
    assert [each[1:] for each in Sends.sent] == [(1,), (2,), ()]
    built.make("event").fire("of.this.request")  # the process does not have it
    assert len(Sends.sent) == 3


def check_facades(tmp_path, facades, **_):
    facades(made(None, AuthorizationProvider))
    masonite_facades.Gate.define("view", lambda user: True)
    assert masonite_facades.Gate.has("view")
    for service in ("auth", "broadcast", "dumper", "session"):
        assert not made().has(service)


def check_helpers(**_):
    from masonite.helpers import optional

    built = made(None, HelpersProvider, application__app_url="https://api.example.com/")
    built.make("router").add(Route.get("/orders/@id", EchoController.plain).name("order"))
    url = built.make("url")
    assert url.url("/orders", {"a": "b c"}) == "https://api.example.com/orders?a=b+c"
    assert url.route("order", {"id": 1}) == "https://api.example.com/orders/1"
    assert url.route("order", {"id": 1}, absolute=False) == "/orders/1"
    assert optional(None).anything is None
    name, order = "pen", {"id": 1}
    assert compact(name, order) == {"name": "pen", "order": {"id": 1}}
    with pytest.raises(ValueError):
        compact("not a variable")


def check_logging(caplog, **_):
    channels = {
        "default": {"level": "info"},
        "audit": {"level": "error"},
        "all": {"driver": "stack", "channels": ["audit"]},
    }
    logger = made(None, LoggingProvider, logging__channels=channels).make("logger")
    caplog.set_level(0)
    logger.debug("no")
    logger.notice("100 % yes")
    logger.channel("audit").warning("no")
    logger.channel("all").critical({"a": 1})
    logger.stack("audit", "default").emergency("once")
    logger.build("daily", {"path": "/x"}).alert("built")
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("app", "NOTICE", "100 % yes"),
        ("app.audit", "CRITICAL", "{'a': 1}"),
        ("app.audit", "EMERGENCY", "once"),
        ("app", "ALERT", "built"),
    ]
    for name in ("app", "app.audit"):
        logging.getLogger(name).setLevel(0)


class Package(PackageProvider):
    def configure(self):
        self.name("super_awesome").commands(Greet())
        self.application.make("router").add(Route.get("/of-package", EchoController.plain))


def check_package_development(**_):
    assert request(made(None, Package), "GET", "/of-package").status == 200


def check_rate_limiting(tmp_path, **_):
    stores = {"default": "local", "local": {"driver": "file", "location": str(tmp_path)}}
    built = made(lambda request: {"ok": True}, CacheProvider, RateProvider, cache__stores=stores)
    built.make("middleware").add({"throttle": ThrottleRequestsMiddleware})
    built.make("router").set(Route.get("/run", EchoController.plain).middleware("throttle:2/minute"))
    responses = [request(built, "GET", "/run") for _ in range(3)]
    assert [response.status for response in responses] == [200, 200, 429]
    assert [response.headers["x-ratelimit-remaining"] for response in responses] == ["1", "0", "0"]
    assert responses[2].json == {"error": "Too many requests"}
    assert 0 < int(responses[2].headers["retry-after"]) <= 60


def check_sessions(capsys, **_):
    rejects(capsys, SessionProvider, SessionMiddleware)


def check_scheduling(**_):
    from masonite.scheduling import Task

    from zuplo_origin.services import ScheduleProvider

    ran = []

    class Counts(Task):
        run_every_minute = True

        def handle(self):
            ran.append(1)

    class Fails(Counts):
        def handle(self):
            raise RuntimeError("a task failed")

    built = made(None, ScheduleProvider)
    built.make("scheduler").add(Fails(), Counts())
    assert built.make("scheduler").run(force=True) == 1
    assert ran == [1]


def check_hash_ids(**_):
    from masonite.hashid.helpers.hashid import hashid
    from masonite.hashid.providers.HashIDProvider import HashIDProvider

    from zuplo_origin.services import ViewProvider

    assert hashid(hashid(42), decode=True) == (42,)
    assert "hashid" in made(None, ViewProvider, HashIDProvider).make("view")._shared


def check_tinker(**_):
    built = made()
    bind_locations(built)
    assert "tinker" in {command.name for command in generator_commands(built)}


def check_validation(**_):
    def action(request):
        errors = request.validate(Validator().required(["name", "sku"]))
        raise ValidationFailed(errors)

    response = request(made(action, ValidationProvider), "GET", "/run?name=pen")
    assert (response.status, [fault["field"] for fault in response.json["details"]]) == (422, ["sku"])


def check_service_providers(capsys, **_):
    calls = []
    provider = type(
        "Own", (Provider,), {"register": lambda self: calls.append("register"), "boot": lambda self: boot(calls)}
    )
    built = made(lambda request: {}, provider)
    assert [request(built, "GET", "/run").status for _ in range(2)] == [200, 200]
    assert calls == ["register", "boot", "boot"]


def boot(calls):
    calls.append("boot")


def check_service_container(**_):
    def action(request):
        request.app.bind("own", "of this request")
        return {"own": request.app.make("own"), "shared": request.app.make("shared")}

    built = made(action)
    built.bind("shared", "of the process")
    assert request(built, "GET", "/run").json == {"own": "of this request", "shared": "of the process"}
    assert not built.has("own")


CORS = {"paths": ["run"], "allowed_origins": ["https://app.example", "https://b.example"], "allowed_methods": ["GET"]}


def check_cors(capsys, **_):
    rejects(capsys, MasoniteCors)
    built = made(lambda request: {}, http_middleware=[CorsMiddleware], security__cors=CORS)
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    response = request(built, "OPTIONS", "/run", asked)
    assert (response.status, response.headers["access-control-allow-methods"]) == (204, "GET")
    assert request(built, "GET", "/run", asked).headers["access-control-allow-origin"] == "https://app.example"


def check_hashing(**_):
    hasher = made(None, HashServiceProvider, application__hashing={"default": "bcrypt", "bcrypt": {"rounds": 4}}).make(
        "hash"
    )
    hashed = hasher.make("secret")
    assert hashed.startswith("$2b$04$")
    assert (hasher.check("secret", hashed), hasher.check("other", hashed), hasher.check("a", "no hash")) == (
        True,
        False,
        False,
    )
    assert (hasher.needs_rehash(hashed), hasher.needs_rehash(hashed, {"rounds": 5})) == (False, True)
    assert hasher.check("secret", hasher.make_bytes("secret"))
    for value in ("x" * 73, "\ud800", None, 5, {"a": 1}):  # as a client may send it
        with pytest.raises(HttpException) as error:
            hasher.make(value)
        assert error.value.status == 422
        assert hasher.check(value, hashed) is False
    assert hasher.check("secret", None) is False


def check_testing(**_):
    assert issubclass(TestResponse, HttpTestResponse)
    assert {"get", "post", "acting_as", "with_headers", "add_routes", "craft"} <= set(dir(TestCase))


CHECKS = {
    "Routing": check_routing,
    "Controllers": check_controllers,
    "Middleware": check_middleware,
    "Response": check_response,
    "Request": check_request,
    "Static Files": check_static_files,
    "Environments": check_environments,
    "Configuration": check_configuration,
    "Error Handling": check_error_handling,
    "API Development": check_api_development,
    "Authentication": check_authentication,
    "Authorization": check_authorization,
    "Broadcasting": check_broadcasting,
    "Caching": check_caching,
    "Compiling Assets": check_compiling_assets,
    "Commands": check_commands,
    "CSRF Protection": check_csrf_protection,
    "Events": check_events,
    "Facades": check_facades,
    "Helpers": check_helpers,
    "Logging": check_logging,
    "Package Development": check_package_development,
    "Rate Limiting": check_rate_limiting,
    "Sessions": check_sessions,
    "Hash ID's": check_hash_ids,
    "Task Scheduling": check_scheduling,
    "Tinker Shell (REPL)": check_tinker,
    "Validation": check_validation,
    "Service Providers": check_service_providers,
    "Service Container": check_service_container,
    "CORS": check_cors,
    "Hashing": check_hashing,
}
TESTED_IN = {
    "Database Tests": "test_database.py",
    "Filesystem and Uploading": "test_services_storage.py",
    "Getting Started (testing)": "test_testing.py",
    "Mail": "test_services_mail.py",
    "Masonite ORM": "test_database.py",
    "Mocking": "test_services_testing.py",
    "Notifications": "test_services_notifications.py",
    "Queues and Jobs": "test_services_queue.py",
    "Views": "test_services_views.py",
    "HTTP Tests": "test_testing.py",
    "Commands Tests": "test_testing.py",
    "Console Tests": "test_testing.py",
    "Extending (testing)": "test_testing.py",
}
"""Chapters that a module of their own tests."""
NOTHING_TO_TEST = {"Masonite Debugbar"}


@pytest.mark.parametrize("chapter", ROWS)
def test_chapter_works_as_its_row_says(chapter, capsys, tmp_path, monkeypatch, caplog, facades):
    status, difference = ROWS[chapter]
    assert status in STATUSES
    assert difference or status == "works"
    if chapter in TESTED_IN:
        assert (ROOT / "package_tests" / TESTED_IN[chapter]).exists()
    elif chapter not in NOTHING_TO_TEST:
        CHECKS[chapter](capsys=capsys, tmp_path=tmp_path, monkeypatch=monkeypatch, caplog=caplog, facades=facades)


def test_every_check_has_a_row():
    assert set(CHECKS) | set(TESTED_IN) | NOTHING_TO_TEST == set(ROWS)


def test_rows_that_are_rejected_stop_the_start():
    rejected = {chapter for chapter, (status, _) in ROWS.items() if status == "rejected at start"}

    assert {chapter for chapter in rejected if "rejects(" not in inspect.getsource(CHECKS[chapter])} == set()


def test_listener_that_boot_adds_is_called_once_with_masonites_provider():
    from masonite.events.providers import EventProvider as Masonites

    class Own(Provider):
        def register(self):
            self.application.make("event").listen("order.placed", [Sends])

        def boot(self):
            self.application.make("event").listen("order.paid", [Sends])

    Sends.sent.clear()
    built = made(lambda request: request.app.make("event").fire(request.input("name")) and None, Masonites, Own)
    for name in ("order.placed", "order.paid", "order.paid"):
        assert request(built, "GET", f"/run?name={name}").status == 204

    assert [event for event, *_ in Sends.sent] == ["order.placed", "order.paid", "order.paid"]


def test_fake_of_events_calls_no_listener(facades):
    Sends.sent.clear()

    def action(request):
        request.app.make("event").fire(OrderPlaced())
        request.app.make("event").fire("order.placed")

    built = facades(made(action, EventProvider))
    built.make("event").listen(OrderPlaced, Sends).listen("order.*", Sends)
    test = TestCase()
    test.setUp()
    events = test.fake("event")
    assert request(built, "GET", "/run").status == 204
    events.assertFired(OrderPlaced, 1).assertFired("order.placed").assertNotFired("another").assertNotFired(Order)
    for wrong in (lambda: events.assertFired(Order), lambda: events.assertFired(OrderPlaced, 2)):
        with pytest.raises(AssertionError):
            wrong()
    assert Sends.sent == []
    test.doCleanups()

    assert request(built, "GET", "/run").status == 204
    assert len(Sends.sent) == 2


# -- what no other test covers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (None, "not set"),
        ({"allowed_origin": ["*"]}, "unknown option 'allowed_origin'"),
        ({"allowed_origins": "*"}, "allowed_origins: invalid value '*'; expected a list of strings"),
        ({"allowed_origins": ["https://app.example/"]}, "expected scheme://host, without a path"),
        ({"allowed_origins": ["app.example"]}, "expected scheme://host, without a path"),
        ({"allowed_origins": ["*"], "supports_credentials": True}, "expected a list of origins instead of '*'"),
    ],
)
def test_invalid_cors_options_stop_the_start(options, problem, capsys):
    with pytest.raises(SystemExit):
        made(None, http_middleware=[CorsMiddleware], **({"security__cors": options} if options else {}))

    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    "headers",
    [
        {"Access-Control-Request-Method": "G\u00e9T"},
        {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "a\tb\u00ff"},
        {"Access-Control-Request-Method": "x" * 10_000},
    ],
)
def test_preflight_with_hostile_headers_does_not_fail(headers):
    built = made(
        lambda request: {},
        http_middleware=[CorsMiddleware],
        security__cors={**CORS, "allowed_headers": ["*"], "allowed_methods": ["*"]},
    )

    response = request(built, "OPTIONS", "/run", {"Origin": "https://app.example"} | headers)

    assert response.status == 204
    assert all(
        "\u00e9" not in value and "\u00ff" not in value and len(value) < 500 for value in response.headers.values()
    )


@pytest.mark.parametrize("key", [None, "tiny", "x" * 31])
def test_encryption_without_a_key_stops_the_start(key, capsys):
    values = {"application__key": key} if key else {}
    for classes in ({"http_middleware": [EncryptCookies]}, {}):
        with pytest.raises(SystemExit):
            made(None, *([] if classes else [EncryptionProvider]), **classes, **values)

        assert "APP_KEY: not set, or too short; expected 32 random bytes or more (python craft key makes them)" in (
            printed := capsys.readouterr().err
        )
        assert key is None or key not in printed


def test_encrypted_text_is_of_this_key_alone():
    first, second = (made(None, EncryptionProvider, application__key=key * 32) for key in "ab")
    text = first.make("sign").encrypt("alice")

    assert "alice" not in text
    assert first.make("sign").decrypt(text) == "alice"
    changed = text[:30] + ("B" if text[30] == "A" else "A") + text[31:]
    for wrong in (text[:-2], "", "a", "\u00e9", changed):
        with pytest.raises(InvalidToken):
            first.make("sign").decrypt(wrong)
    with pytest.raises(InvalidToken):
        second.make("sign").decrypt(text)


def test_cookie_that_was_encrypted_under_another_name_is_absent():
    def action(request):
        request.app.make("response").cookie("theme", "admin")
        return {name: request.cookie(name) for name in ("theme", "role")}

    built = made(action, http_middleware=[EncryptCookies], application__key="k" * 32)
    sent = request(built, "GET", "/run").headers["set-cookie"].partition(";")[0].partition("=")[2]

    assert request(built, "GET", "/run", {"Cookie": f"theme={sent}"}).json == {"theme": "admin", "role": None}
    assert request(built, "GET", "/run", {"Cookie": f"role={sent}"}).json == {"theme": None, "role": None}


def test_options_of_one_hash_are_not_those_of_another():
    hasher = made(None, HashServiceProvider).make("hash")
    slow, quick = hasher.get_driver("bcrypt").set_options({"rounds": 5}), hasher.get_driver("bcrypt")
    quick.set_options({"rounds": 4})  # as another thread does meanwhile

    assert slow.make("secret").startswith("$2b$05$")


def test_cookies_of_exempt_names_are_sent_and_read_as_they_are():
    own = type("Own", (EncryptCookies,), {"exempt": ["theme"]})

    def action(request):
        request.app.make("response").cookie("theme", "dark")
        request.app.make("response").cookie("plain", "text", encrypt=False)
        return {"theme": request.cookie("theme"), "other": request.cookie("other")}

    built = made(action, http_middleware=[own], application__key="k" * 32)
    response = request(built, "GET", "/run", {"Cookie": "theme=light; other=light"})

    assert response.json == {"theme": "light", "other": None}
    sent = [value.partition(";")[0] for name, value in response.header_list if name == "Set-Cookie"]
    assert sent == ["theme=dark", "plain=text"]


def test_compact_of_masonite_is_safe_under_threads():
    from masonite.helpers import compact as masonites

    made(None)  # the start of an application replaces it
    wrong = []

    def work(number):
        for each in range(2000):
            user, count = f"user {number}", [number, each]
            if masonites(user, count) != {"user": user, "count": count}:
                wrong.append(number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_services_that_the_sentences_name_can_be_imported():
    import zuplo_origin.services as services

    named = [name for table in (PROVIDERS, MIDDLEWARE) for name in table if "zuplo_origin.services" in table[name]]
    missing = [name for name in named if not hasattr(services, name)]
    assert missing == []
    assert set(services.MODULES) <= set(dir(services))


def test_application_without_services_loads_none():
    import subprocess

    code = (
        "import sys; from package_tests.support.applications import project_application; project_application();"
        "print([name for name in sys.modules if name.startswith('zuplo_origin.services')])"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout

    loaded = {"zuplo_origin.services", "zuplo_origin.services.rejected", "zuplo_origin.services.start"}
    assert set(re.findall(r"'([\w.]+)'", printed)) == loaded
    assert Path(PAGE).exists()


def test_type_checkers_see_every_name_that_is_imported_when_it_is_used():
    (block,) = [each for each in ast.parse(inspect.getsource(services)).body if isinstance(each, ast.If)]

    assert {alias.name: each.module for each in block.body for alias in each.names} == services.MODULES
    assert all(alias.name == alias.asname for each in block.body for alias in each.names)  # re-exported (PEP 484)
