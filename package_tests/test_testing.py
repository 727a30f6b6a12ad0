"""The `TestCase` for users' tests, in a copied project: pytest runs a test file that uses all of it."""

import pytest

from package_tests.support.processes import forked_python
from package_tests.support.project import copy_of_the_project
from zuplo_origin import testing

CONTROLLER = """
from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response


class EchoController(Controller):
    def show(self, request: Request):
        return {
            "headers": {name: request.header(name) for name in ("X-One", "X-Two", "Content-Type")},
            "cookies": {name: request.cookie(name) for name in ("theme", "note")},
            "input": request.all(),
        }

    def item(self, request: Request, id):
        return {"id": id}

    def rows(self, response: Response):
        return response.stream((f"{number}\\n" for number in range(3)), "text/csv")

    def headers(self, response: Response):
        response.header("X-Name", "value")
        return "one two three"

    def cookies(self, response: Response):
        response.cookie("theme", "dark")
        response.cookie("note", "1", secure=False)
        response.delete_cookie("old")
        return "cookies"

    def moved(self, response: Response):
        return response.redirect("/protected")

    def empty(self, response: Response):
        response.status(204)
        return ""

    def created(self, response: Response):
        return response.json({"items": {"a": 1, "b": 2}}, status=201)
"""
ROUTES = """
from app.controllers.EchoController import EchoController

ROUTES += [
    Route.match(["get", "post", "put", "patch", "delete"], "/echo", EchoController.show).name("echo"),
    Route.get("/items/@id:int", EchoController.item).name("item").casts({"id": int}),
    Route.get("/rows", EchoController.rows),
    Route.get("/headers", EchoController.headers),
    Route.get("/cookies", EchoController.cookies),
    Route.get("/moved", EchoController.moved),
    Route.get("/empty", EchoController.empty),
    Route.get("/created", EchoController.created),
    Route.get("/orders", EchoController.empty).middleware("jwt:read:orders,write:orders"),
]
"""
TESTS = """
import os

import pytest
from masonite.controllers import Controller
from masonite.routes import Route

from app.controllers.EchoController import EchoController
from app.controllers.HealthController import HealthController
from wsgi import application
from zuplo_origin.testing import TestCase


EXPIRED, REJECTED = {"error": "Token has expired"}, {"error": "Invalid token"}


class Clock:
    name = "mine"


class System(Clock):
    name = "system"


class ClockController(Controller):
    def show(self, clock: Clock):
        return clock.name


application.bind("system", System())


def test_client_sends_requests(client):
    client.get("/protected").assertUnauthorized()
    client.acting_as(sub="user-1").get("/protected").assertJsonPath("user.sub", "user-1")


def test_client_has_no_token_of_another_test(client, token):
    client.get("/protected").assertUnauthorized()
    client.with_headers({"Authorization": "Bearer " + token(sub="user-3")})
    client.get("/protected").assertOk().assertJsonPath("user.sub", "user-3")


class EchoTest(TestCase):
    def setUp(self):
        super().setUp()
        self.withHeaders({"X-One": "1"})

    def test_acting_as_sends_a_token_with_scopes_and_claims(self):
        self.get("/protected").assertUnauthorized().assertHasHeader("WWW-Authenticate")
        self.acting_as(sub="user-1", account="acme").get("/protected").assertOk().assertJsonPath("user.sub", "user-1")
        self.acting_as(account="acme").get("/protected").assertJsonPath("user.account", "acme")
        self.actingAs(scope="read:orders").get("/orders").assertForbidden()
        self.actingAs(scope="read:orders write:orders").get("/orders").assertNoContent()
        self.acting_as(exp=1).get("/protected").assertUnauthorized().assertJson({"error": "Token has expired"})
        self.acting_as(sub=None).get("/protected").assertOk().assertJsonMissing("user.sub")

    def test_acting_as_takes_all_claims(self):
        self.acting_as({"sub": "user-2", "scope": "read:orders write:orders", "role": "admin"})
        self.get("/protected").assertJsonPath("user.sub", "user-2").assertJsonPath("user.role", "admin")
        self.get("/orders").assertNoContent()
        self.acting_as({"role": "admin"}).get("/protected").assertJsonPath("user.sub", "tester")

    def test_tokens_that_are_rejected_take_one_call_each(self):
        details = {
            self.with_expired_token: None,
            self.with_forged_token: "The token's signature is not valid",
            self.with_token_of_another_audience: "The token is for another audience",
        }
        for send, expected in details.items():
            rejected = send(scope="read:orders").get("/protected").assertUnauthorized().json()
            assert rejected == (EXPIRED if expected is None else REJECTED | {"details": expected})
        self.acting_as().get("/protected").assertOk()

    def test_a_service_is_swapped_for_one_test(self):
        assert self.swap("clock", "fake") == "fake" == self.application.make("clock")
        self.swap(Clock, self.swap("jwks", Clock()))
        self.addRoutes(Route.get("/clock", ClockController.show)).get("/clock").assertContains("mine")

    def test_b_service_of_another_test_is_back(self):
        assert not self.application.has("clock") and not isinstance(self.application.make("jwks"), Clock)
        self.addRoutes(Route.get("/clock", ClockController.show)).get("/clock").assertContains("system")

    def test_headers_are_sent_in_both_forms_and_replaced_in_any_case(self):
        self.with_headers(x_one="2").with_headers({"x-two": "3"})
        self.get("/echo").assertJsonPath("headers.X-One", "2").assertJsonPath("headers.X-Two", "3")
        self.acting_as().with_headers(authorization="Basic x").get("/protected").assertUnauthorized()

    def test_headers_of_another_test_are_gone(self):
        self.get("/echo").assertJsonPath("headers.X-One", "1").assertJsonPath("headers.X-Two", None)
        self.get("/protected").assertUnauthorized()

    def test_cookies_are_sent(self):
        response = self.withCookies({"theme": "dark", "note": "1"}).get("/echo")
        response.assertJsonPath("cookies.theme", "dark").assertJsonPath("cookies.note", "1")
        response = self.with_cookies({"theme": "light"}).get("/echo").assertJsonPath("cookies.theme", "light")
        response.assertJsonPath("cookies.note", None).assertCookieMissing("theme")

    def test_cookies_of_the_response_are_asserted_on(self):
        response = self.with_cookies({"sent": "1", "old": "1"}).get("/cookies")
        response.assertCookie("theme", "dark").assertCookie("note").assertCookieNotExpired("theme")
        response.assertCookieExpired("old").assertPlainCookie("note").assertCookieMissing("sent")
        for fails in (
            lambda: response.assertCookie("sent"),
            lambda: response.assertCookie("theme", "light"),
            lambda: response.assertPlainCookie("theme"),
            lambda: response.assertCookieExpired("theme"),
            lambda: response.assertCookieNotExpired("old"),
            lambda: response.assertCookieMissing("theme"),
        ):
            with pytest.raises(AssertionError):
                fails()

    def test_database_is_not_the_developers(self):
        assert os.environ["DATABASE_URL"].endswith("/tests.sqlite3")
        assert len(os.environ["APP_KEY"]) >= 32

    def test_every_method_sends_its_body(self):
        for send in (self.post, self.put, self.patch, self.delete):
            send("/echo", {"name": "é"}).assertOk().assertJsonPath("input.name", "é")
            send("/echo?page=2").assertJsonPath("input.page", "2")
        sent = self.request("POST", "/echo", {"name": "a"}).assertJsonPath("headers.Content-Type", "application/json")
        assert sent.json()["input"] == {"name": "a"}

    def test_a_body_of_another_type_is_sent_as_it_is(self):
        form = "application/x-www-form-urlencoded"
        self.post("/echo", body=b"{").assertIsStatus(400)
        self.post("/echo", body=b"a", content_type="text/csv").assertIsStatus(415)
        self.post("/echo", body=b"name=a", content_type=form).assertOk()
        self.with_headers(content_type=form).post("/echo", body="name=a").assertOk()

    def test_message_of_another_status_has_the_body(self):
        response = self.post("/echo", body=b"a", content_type="text/csv")
        for fails in (response.assertOk, response.assertSuccessful, lambda: response.assertIsStatus(404)):
            with pytest.raises(AssertionError, match=r"Status is 415 .*Unsupported media type"):
                fails()

    def test_head_and_options_have_no_body(self):
        self.head("/headers").assertOk().assertHasHeader("X-Name", "value").assertNoContent(200)
        self.options("/echo").assertNoContent().assertHasHeader("Allow")

    def test_a_route_is_asserted_on(self):
        response = self.get("/items/7")
        response.assertIsNamed("item").assertIsNotNamed("echo").assertHasController(EchoController)
        response.assertRouteHasParameter("id").assertRouteHasParameter("id", 7).assertRouteHasParameter("id", "7")
        with pytest.raises(AssertionError):
            response.assertRouteHasParameter("id", 8)
        with pytest.raises(AssertionError):
            response.assertRouteHasParameter("other")
        assert response.request.param("id") == 7

    def test_a_path_without_a_route_has_none(self):
        response = self.get("/nowhere").assertNotFound().assertJson({"error": "Not found"})
        assert response.route is None and response.request.get_path() == "/nowhere"
        self.post("/headers").assertIsStatus(405).assertHasHeader("Allow")

    def test_json_is_asserted_on(self):
        response = self.get("/created").assertCreated().assertSuccessful().assertJson({"items": {"a": 1, "b": 2}})
        response.assertJsonExact({"items": {"a": 1, "b": 2}}).assertJsonCount(2, "items").assertJsonMissing("items.c")
        with pytest.raises(AssertionError):
            response.assertJsonPath("items.a", 2)
        response.response.content = b"[1, 2, 3]"
        with pytest.raises(AssertionError):
            response.assertJsonCount(3).assertJsonCount(2)

    def test_content_headers_and_redirects_are_asserted_on(self):
        response = self.get("/headers").assertContains("two").assertNotContains("four")
        response.assertContainsInOrder("one", "three").assertHasHeader("x-name", "value").assertHeaderMissing("X-Other")
        self.get("/moved").assertRedirect("/protected").assertLocation("/protected")

    def test_a_streamed_response_is_read_to_its_end(self):
        self.get("/rows").assertOk().assertContains("0\\n1\\n2\\n").assertHasHeader("Content-Type", "text/csv")

    def test_routes_are_added_for_one_test(self):
        self.addRoutes(Route.get("/added", HealthController.live)).get("/added").assertOk()
        self.get("/echo").assertOk()
        self.setRoutes(Route.get("/alone", HealthController.live)).get("/alone").assertOk()
        self.get("/echo").assertNotFound()

    def test_routes_of_another_test_are_gone(self):
        for path in ("/added", "/alone"):
            self.get(path).assertNotFound()
        self.get("/echo").assertOk()

    def test_a_craft_command_is_run(self):
        self.craft("routes:list").assertSuccess().assertOutputContains("/echo")

    def test_a_response_is_dumped(self):
        self.get("/headers").dumpRequestHeaders().dumpResponseHeaders()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_of_the_project(tmp_path_factory.mktemp("project"))
    (project / "app/controllers/EchoController.py").write_text(CONTROLLER)
    with open(project / "routes/web.py", "a") as routes:
        routes.write(ROUTES)
    return project


def run(project, text, *arguments, **settings):
    (project / "tests/test_echo.py").write_text(text)
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", *arguments)
    return forked_python(project, "-m", "pytest", *options, "tests/test_echo.py", **settings)


def test_test_case_sends_requests_whatever_the_developers_settings_are(project):
    developers = {"JWT_ISSUER": "https://gateway.example", "JWT_LEEWAY": "x", "APP_ENV": "production"}
    developers |= {"DATABASE_URL": f"sqlite:///{project}/development.sqlite3"}
    ended = run(project, TESTS, "-W", "error", "-W", "ignore:DD class", **developers)

    assert ended.returncode == 0 and "25 passed" in ended.stdout, ended.stdout


def test_a_failed_assertion_fails_the_test_and_the_dump_is_shown(project):
    test = """
from zuplo_origin.testing import TestCase


class FailingTest(TestCase):
    def test_it(self):
        self.get("/headers").dumpResponseHeaders().assertCreated()
"""
    ended = run(project, test)

    assert ended.returncode == 1
    assert "Status is 200 OK. Asserted 201" in ended.stdout and "> Response Headers:" in ended.stdout


def test_stop_ends_the_run():
    with pytest.raises(pytest.exit.Exception, match="enough"):
        testing.TestCase().stop("enough")
