"""Parameters of actions and constructors: what fills them, and the error at start if nothing can."""

import decimal
import json
import logging
import subprocess
import sys
import uuid
from typing import Annotated, Any, Optional

import pytest
from masonite.controllers import Controller
from masonite.mail import Mail
from masonite.middleware import CorsMiddleware, EncryptCookies
from masonite.queues import Queue
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route
from pydantic import BaseModel

from package_tests.support.applications import Probe, application
from package_tests.support.controllers import Controller as Source
from package_tests.support.controllers import project_with
from package_tests.support.servers import clean_environment, free_port
from package_tests.support.wsgi_client import environ
from zuplo_origin.http.injection import check_parameters
from zuplo_origin.http.kernel import Provider
from zuplo_origin.http.routing import RouteError


class Clock:
    """Made for each injection."""


class Tenant:
    """Bound by something, or not at all."""

    def __init__(self, name):
        self.name = name


class Ledger:
    def __init__(self, clock: Clock, tenant: Tenant):
        self.tenant = tenant


class First:
    def __init__(self, second: "Second"):
        pass


class Second:
    def __init__(self, first: First):
        pass


class Order(BaseModel):
    number: int = 1


class ModelService:
    def __init__(self, order: Order):
        pass


class ActionsController(Controller):
    def none(self):
        return {}

    def foo(self, foo):
        return {"foo": foo}

    def number(self, foo: int):
        return {"foo": foo}

    def two(self, request: Request, foo, bar):
        return {"foo": foo, "bar": bar}

    def queue(self, queue: Queue):
        return {}

    def queue_by_default(self, queue: Queue = None):
        return {}

    def mail(self, mail: Mail, id: str):
        return {}

    def real(self, price: float):
        return {}

    def flag(self, flag: bool):
        return {}

    def id(self, id: uuid.UUID):
        return {}

    def price(self, price: decimal.Decimal):
        return {"price": price}

    def log(self, log: logging.Logger):
        return {}

    def tenant(self, tenant: Tenant):
        return {"tenant": tenant.name}

    def optional_tenant(self, tenant: Tenant | None):
        return {"tenant": tenant.name}

    def ledger(self, ledger: Ledger):
        return {"tenant": ledger.tenant.name}

    def cycle(self, first: First):
        return {}

    def model_service(self, service: ModelService):
        return {}

    def model(self, order: Order, request: Request, foo):
        return {"number": order.number, "foo": foo}

    def keyword(self, *, request: Request):
        return {}

    def shifted(self, page: int = 1, request: Request = None):
        return {}

    def usual(self, request: Request, response: Response, clock: Clock, foo):
        return {"foo": foo}

    def text(self, request: "Request", foo: "str"):
        return {"foo": foo, "method": request.get_request_method()}

    def rest(self, request: Request, *rest: Any, page=1, **options: Any):
        return {"page": page}

    def default(self, request: Request, page: int = 7):
        return {"page": page}

    def maybe(self, foo: str | None, bar: Optional[int], baz: Annotated[str, "text"], some: Any, many: list[str]):  # noqa: UP045
        return [foo, bar, baz, some, many]

    def nullable(self, request: Request | None):
        return {"method": request.get_request_method()}

    @classmethod
    def of_class(cls, request: Request, foo):
        return {"foo": foo}

    @staticmethod
    def static(request: Request, foo):
        return {"foo": foo}

    def named(self, thing, mail):
        return {"thing": thing, "mail": mail}


class TenantController(Controller):
    def __init__(self, tenant: Tenant):
        self.tenant = tenant

    def show(self):
        return {"tenant": self.tenant.name}


class FooController(Controller):
    def __init__(self, foo):
        self.foo = foo

    def show(self):
        return {"foo": self.foo}


class BindingMiddleware:
    def before(self, request, response):
        request.app.bind("tenant", Tenant("of the request"))
        return request

    def after(self, request, response):
        return request


def bind_tenant(request):
    request.app.bind("tenant", Tenant("of the request"))


class HelpedMiddleware(BindingMiddleware):
    def before(self, request, response):
        bind_tenant(request)
        return request


class BootingProvider(Provider):
    def boot(self):
        self.application.bind("tenant", Tenant("of boot"))


A = ActionsController


def get(made, path):
    """Return the status and the JSON of a GET."""
    started = []
    chunks = made(environ("GET", path), lambda status, headers: started.append(int(status[:3])))
    return started[0], json.loads(b"".join(chunks))


@pytest.mark.parametrize(
    ("url", "action", "parameter"),
    [
        ("/a", A.foo, "foo"),
        ("/a", A.number, "foo"),
        ("/a/@foo", A.two, "bar"),
        ("/a", A.queue, "queue"),
        ("/a", A.queue_by_default, "queue"),
        ("/a/@id", A.mail, "mail"),
        ("/a/@price", A.real, "price"),
        ("/a/@flag", A.flag, "flag"),
        ("/a/@id", A.id, "id"),
        ("/a", A.log, "log"),
        ("/a", A.tenant, "tenant"),
        ("/a", A.optional_tenant, "tenant"),
        ("/a", A.ledger, "ledger"),
        ("/a", A.cycle, "first"),
        ("/a", A.model_service, "service"),
        ("/a", A.model, "foo"),
        ("/a", A.keyword, "request"),
        ("/a", A.shifted, "page"),
        ("/a", A.of_class, "foo"),
        ("/a", A.static, "foo"),
        ("/a", TenantController.show, "tenant"),
        ("/a/@foo", FooController.show, "foo"),
    ],
)
def test_parameter_that_nothing_fills_is_an_error_at_start(url, action, parameter):
    made = application(Route.get(url, action))

    with pytest.raises(RouteError) as raised:
        check_parameters(made)

    message = str(raised.value)
    code = getattr(action, "__func__", action).__code__
    called = action.__qualname__ if parameter in code.co_varnames else "__init__"
    assert message.startswith(f"GET {url}: ") and called in message and "\n" not in message
    assert f"nothing fills the parameter '{parameter}'; " in message


@pytest.mark.parametrize(
    ("action", "parameter"),
    [
        (A.foo, "foo"),
        (A.queue, "queue"),
        (A.tenant, "tenant"),
        (TenantController.show, "tenant"),
        (FooController.show, "foo"),
    ],
)
def test_request_for_an_unfilled_parameter_is_500_and_logs_its_name(action, parameter, caplog):
    made = application(Route.get("/a", action))

    assert get(made, "/a") == (500, {"error": "Internal server error"})
    assert f"nothing fills the parameter '{parameter}'" in caplog.text


@pytest.mark.parametrize(
    ("url", "action", "path", "body"),
    [
        ("/a", A.none, "/a", {}),
        ("/a/@x", A.none, "/a/1", {}),
        ("/a/@foo", A.foo, "/a/1", {"foo": "1"}),
        ("/a/?foo", A.foo, "/a", {"foo": None}),
        ("/a/@other", A.number, "/a/1", {"foo": "1"}),
        ("/a/@foo/@bar", A.two, "/a/1/2", {"foo": "1", "bar": "2"}),
        ("/a/@foo", A.model, "/a/1?number=2", {"number": 2, "foo": "1"}),
        ("/a/@foo", A.usual, "/a/1", {"foo": "1"}),
        ("/a/@foo", A.text, "/a/1", {"foo": "1", "method": "GET"}),
        ("/a", A.rest, "/a", {"page": 1}),
        ("/a", A.default, "/a", {"page": 7}),
        ("/a/@page:int", A.default, "/a/3", {"page": 3}),
        ("/a/@a/@b:int/@c/@d/?e", A.maybe, "/a/1/2/3/4", ["1", 2, "3", "4", None]),
        ("/a", A.nullable, "/a", {"method": "GET"}),
        ("/a/@foo", A.of_class, "/a/1", {"foo": "1"}),
        ("/a/@foo", A.static, "/a/1", {"foo": "1"}),
    ],
)
def test_valid_parameters_are_filled(url, action, path, body):
    made = application(Route.get(url, action))

    check_parameters(made)
    assert get(made, path) == (200, body)


def bound(made):
    made.bind("tenant", Tenant("a"))


def bound_class(made):
    class Default(Tenant):
        def __init__(self):
            self.name = "a"

    made.bind("tenant", Default)


def scoped(made):
    made.scoped("tenant", Tenant, lambda: Tenant("a"))


def swapped(made):
    made.swap(Tenant, Tenant("a"))


@pytest.mark.parametrize("bind", [bound, bound_class, scoped, swapped])
@pytest.mark.parametrize("action", [A.tenant, A.optional_tenant, A.ledger, TenantController.show])
def test_service_is_injected_however_it_is_bound(bind, action):
    made = application(Route.get("/a", action))
    bind(made)  # after the routes, as wsgi.py may

    check_parameters(made)
    assert get(made, "/a") == (200, {"tenant": "a"})


class IdleMiddleware:
    def before(self, request, response):
        return request

    def after(self, request, response):
        return request


@pytest.mark.parametrize("middleware", [CorsMiddleware, EncryptCookies, IdleMiddleware])
def test_middleware_that_binds_nothing_hides_no_unfilled_parameter(middleware):
    made = application(Route.get("/a", A.queue), http_middleware=[middleware])

    with pytest.raises(RouteError, match="add the provider that binds Queue"):
        check_parameters(made)


@pytest.mark.parametrize("middleware", [BindingMiddleware, HelpedMiddleware])
def test_service_that_a_middleware_binds_is_no_error_at_start(middleware):
    made = application(Route.get("/a", A.tenant))
    made.make("middleware").add({"tenant": [middleware]})
    made.make("router").set(Route.get("/a", A.tenant).middleware("tenant"))

    check_parameters(made)
    assert get(made, "/a") == (200, {"tenant": "of the request"})


def test_service_that_a_middleware_of_all_requests_binds_is_no_error_at_start():
    made = application(Route.get("/a", A.tenant), http_middleware=[BindingMiddleware])

    check_parameters(made)
    assert get(made, "/a") == (200, {"tenant": "of the request"})


def test_service_that_boot_of_a_provider_binds_is_no_error_at_start():
    made = application(Route.get("/a", A.tenant))
    made.add_providers(BootingProvider)

    check_parameters(made)
    assert get(made, "/a") == (200, {"tenant": "of boot"})


def test_middleware_that_binds_nothing_does_not_hide_an_unfilled_parameter():
    made = application()
    made.make("router").set(Route.get("/a", A.tenant).middleware("probe"))
    assert Probe in made.make("middleware").classes()

    with pytest.raises(RouteError, match="'tenant'"):
        check_parameters(made)


def test_parameters_are_filled_by_name_if_the_container_is_set_to():
    made = application(Route.get("/a", A.named))
    made.resolve_parameters = True
    made.bind("thing", 1)

    with pytest.raises(RouteError, match="'mail'"):
        check_parameters(made)
    made.bind("mail", 2)
    check_parameters(made)
    assert get(made, "/a") == (200, {"thing": 1, "mail": 2})


def test_instance_of_a_controller_needs_no_constructor():
    made = application(Route.get("/a", FooController("x").show))

    check_parameters(made)
    assert get(made, "/a") == (200, {"foo": "x"})


WRONG = Source(
    "WrongController",
    """
from masonite.controllers import Controller
from masonite.views import View


class WrongController(Controller):
    def show(self, view: View):
        return {}
""",
    '[Route.get("/wrong", WrongController.show)]',
)


@pytest.mark.parametrize("command", [["-m", "zuplo_origin.server"], ["craft", "serve", "--dont-reload"]])
def test_server_does_not_start_with_a_parameter_that_nothing_fills(tmp_path, command):
    project = project_with(WRONG, tmp_path)
    settings = {"JWT_ISSUER": "http://127.0.0.1:9", "JWT_AUDIENCE": "*", "PORT": str(free_port())}
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode != 0 and "Traceback" not in ended.stderr
    expected = "GET /wrong: WrongController.show: nothing fills the parameter 'view'; add the provider that binds View"
    assert expected in ended.stderr + ended.stdout
