"""Typed claims: the caller's token as a validated parameter of an action."""

import json
import logging
from typing import Annotated, Any, Literal

import pytest
from masonite.controllers import Controller
from masonite.request import Request
from masonite.routes import Route
from pydantic import BaseModel, Field, model_validator

from package_tests.support.applications import application as make_application
from package_tests.support.applications import project_application
from package_tests.support.wsgi_client import request
from zuplo_origin.claims import Claims
from zuplo_origin.http.injection import check_parameters
from zuplo_origin.http.kernel import Provider
from zuplo_origin.http.routing import RouteError
from zuplo_origin.openapi.description import Description


class Tenant(BaseModel):
    id: Annotated[int, Field(ge=1)]


class Caller(Claims):
    sub: Annotated[str, Field(min_length=1)]
    tenant: Tenant
    plan: Literal["free", "gold"] = "free"
    role: str | None = Field(default=None, alias="https://api.test/role")


class Subject(Claims):
    sub: str


class NewOrder(BaseModel):
    name: str


class OrdersController(Controller):
    def show(self, caller: Caller) -> Any:
        return {"sub": caller.sub, "tenant": caller.tenant.id, "plan": caller.plan, "role": caller.role}

    def store(self, caller: Caller, order: NewOrder, subject: Subject, id: int) -> Any:
        return {"name": order.name, "tenant": caller.tenant.id, "sub": subject.sub, "id": id}


class TwoController(Controller):
    def store(self, first: NewOrder, second: Tenant): ...


class OfCallerController(Controller):
    def __init__(self, caller: Subject):
        self.caller = caller

    def show(self, caller: Subject):
        return {"sub": self.caller.sub}

    def other(self):
        return {"sub": self.caller.sub}


class Loose(Claims):
    """Without the token, every field has a default: it must not be made without the token."""

    role: str = "guest"
    names: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def change(cls, claims):
        claims["names"] = claims.get("names", [])
        claims["names"].append("changed")
        return claims


class Admin(Loose):
    level: int = 0


class Service:
    def __init__(self, caller: Loose):
        self.role = caller.role


class Nothing(Claims):
    role: str = "guest"

    @classmethod
    def __from_request__(cls, request):
        return None if request.claim("role") == "none" else Admin()


class LooseController(Controller):
    def __init__(self, caller: Loose, service: Service):
        self.roles = [caller.role, service.role]

    def show(self):
        return self.roles

    def kinds(self, admin: Admin, loose: Loose, caller: Annotated[Admin, "again"]):
        return [type(each).__name__ for each in (admin, loose, caller)]

    def user(self, request: Request, loose: Loose):
        return request.user()

    def nothing(self, nothing: Nothing):
        return {"role": nothing.role}

    def body(self, order: "OwnOrder"):
        return {"name": order.name}


class OwnOrder(BaseModel):
    name: str

    def from_request(self):
        """Do what its author likes: the name is not reserved."""


class OptionalController(Controller):
    def show(self, caller: Caller | None = None): ...


class BootingProvider(Provider):
    def boot(self):
        """Anything could be bound here, for all that the check at start knows."""


class User:
    """Sets the claims that a header names, as the guard does."""

    def before(self, request, response):
        if request.header("X-Claims"):
            request.set_user(json.loads(request.header("X-Claims")))
        return request

    def after(self, request, response):
        return request


ROUTES = (
    Route.get("/order", OrdersController.show),
    Route.post("/orders/@id:int", OrdersController.store),
    Route.get("/caller", OfCallerController.show),
    Route.get("/loose", LooseController.show),
    Route.get("/kinds", LooseController.kinds),
    Route.get("/user", LooseController.user),
    Route.get("/nothing", LooseController.nothing),
    Route.post("/own", LooseController.body),
)
CLAIMS = {"iss": "https://a.test", "sub": "ann", "tenant": {"id": 7, "name": "acme"}, "exp": 1}


@pytest.fixture(scope="module")
def application():
    return make_application(*ROUTES, http_middleware=[User])


def sent(application, claims, method="GET", path="/order", body=b""):
    headers = {"X-Claims": json.dumps(claims), "Content-Type": "application/json"}
    return request(application, method, path, headers, body)


def test_claims_are_a_parameter(application):
    check_parameters(application)

    assert sent(application, CLAIMS).json == {"sub": "ann", "tenant": 7, "plan": "free", "role": None}
    more = CLAIMS | {"plan": "gold", "https://api.test/role": "admin"}
    assert sent(application, more).json == {"sub": "ann", "tenant": 7, "plan": "gold", "role": "admin"}
    assert sent(application, {"sub": "ann"}, path="/caller").json == {"sub": "ann"}


def test_claims_are_passed_beside_a_body_and_the_parameters_of_the_route(application):
    found = sent(application, CLAIMS, "POST", "/orders/3", b'{"name": "pen"}')

    assert found.json == {"name": "pen", "tenant": 7, "sub": "ann", "id": 3}
    assert sent(application, CLAIMS, "POST", "/orders/3", b"{}").status == 422


@pytest.mark.parametrize(
    "changed",
    [
        {"tenant": None},
        {"tenant": "acme"},
        {"tenant": {"id": 0}},
        {"tenant": {"id": "x"}},
        {"tenant": []},
        {"sub": ""},
        {"sub": 5},
        {"sub": ["ann"]},
        {"plan": "silver"},
        {"https://api.test/role": {"a": 1}},
    ],
)
def test_token_that_does_not_fit_is_403(application, changed):
    rejected = sent(application, CLAIMS | changed)
    assert (rejected.status, rejected.json) == (403, {"error": "Forbidden"})

    rejected = sent(application, CLAIMS | changed, "POST", "/orders/3", b"not read")
    assert rejected.status == 403  # before the body is parsed


def test_request_without_a_token_is_401(application):
    assert request(application, "GET", "/order").status == 401


@pytest.mark.parametrize("path", ["/loose", "/kinds", "/user"])
def test_claims_are_never_made_without_the_token(path):
    made = make_application(*ROUTES, http_middleware=[User])
    made.add_providers(BootingProvider)
    check_parameters(made)

    assert request(made, "GET", path).status == 401


def test_constructor_and_service_get_the_claims_of_the_token(application):
    assert sent(application, {"sub": "ann", "role": "boss"}, path="/loose").json == ["boss", "boss"]


def test_each_parameter_gets_an_object_of_its_own_class(application):
    assert sent(application, {"sub": "ann"}, path="/kinds").json == ["Admin", "Loose", "Admin"]


def test_validator_does_not_change_the_claims_of_the_request(application):
    assert sent(application, {"sub": "ann", "names": ["a"]}, path="/user").json == {"sub": "ann", "names": ["a"]}


@pytest.mark.parametrize("role", ["none", "other"])
def test_object_of_another_class_is_an_error(application, role):
    assert sent(application, {"sub": "ann", "role": role}, path="/nothing").status == 500


def test_name_of_the_method_is_free_for_other_models(application):
    assert sent(application, {"sub": "ann"}, "POST", "/own", b'{"name": "pen"}').json == {"name": "pen"}


def test_claims_can_be_swapped_in_a_test():
    made = make_application(*ROUTES, http_middleware=[User])
    made.swap(Caller, Caller(sub="bob", tenant=Tenant(id=9)))

    assert request(made, "GET", "/order").json["tenant"] == 9


def test_optional_claims_are_an_error_at_start():
    with pytest.raises(RouteError, match="claims are a parameter by themselves, and not optional"):
        make_application(Route.get("/optional", OptionalController.show))


def test_two_models_of_the_input_are_an_error_that_names_claims():
    with pytest.raises(RouteError, match=r"takes 2 models.*zuplo_origin\.claims\.Claims"):
        make_application(Route.post("/two", TwoController.store))


def test_claims_are_no_parameter_of_the_description(application):
    document = Description(application.make("router"), "T", "1", "Authorization", "Bearer").document()

    assert "requestBody" not in document["paths"]["/order"]["get"]
    assert [each["in"] for each in document["paths"]["/order"]["get"].get("parameters", [])] == []
    assert "403" in document["paths"]["/order"]["get"]["responses"]
    assert "Caller" not in document["components"]["schemas"]


def test_real_token_passes_the_guard_and_is_validated(issuer, caplog):
    made = project_application.__wrapped__()  # one of its own: a route is added
    made.make("router").add(Route.get("/order", OrdersController.show).middleware("jwt"))
    good, bad = issuer.token(sub="ann", tenant={"id": 7}), issuer.token(sub="ann", tenant={"id": "acme"})

    def get(token):
        return request(made, "GET", "/order", {"Authorization": f"Bearer {token}"})

    with caplog.at_level(logging.INFO):
        assert (get(good).status, get(good).json["tenant"]) == (200, 7)
        assert (get(bad).status, get(bad).json) == (403, {"error": "Forbidden"})
        assert request(made, "GET", "/order").status == 401
    assert "claim_mismatch" in caplog.text and bad not in caplog.text
