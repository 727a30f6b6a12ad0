"""Required claims and scopes: what settings and routes ask of claims."""

from functools import lru_cache

import pytest
from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route

from package_tests.project.app.controllers.ProtectedController import ProtectedController
from package_tests.support.applications import project_application
from package_tests.support.gateway import GATEWAY
from package_tests.support.wsgi_client import request
from zuplo_origin.http.routing import RouteError
from zuplo_origin.jwt.claims import MISSING, claim_at, has_scopes, holds, parse_required, scopes_of

CLAIMS = {
    "account": "acme",
    "roles": ["admin", "user"],
    "verified": True,
    "level": 1,
    "https://a.example/roles": ["x"],
    "realm_access": {"roles": ["manager"]},
    "a.b": "whole",
    "a": {"b": "path"},
}


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ("account", True),
        ("account=acme", True),
        ("account=other|acme", True),
        ("account=other", False),
        ("account=acme2", False),
        ("roles=admin", True),
        ("roles=owner", False),
        ("roles=owner|user", True),
        ("verified:=true", True),
        ("verified:=false", False),
        ("verified=true", False),
        ("level:=1", True),
        ("level=1", False),
        ("level:=true", False),
        ('roles:=["admin", "user"]', True),
        ("https://a.example/roles=x", True),
        ("realm_access.roles=manager", True),
        ("a.b=whole", True),
        ("a.b=path", False),
    ],
)
def test_requirement_is_met_by_an_equal_value_of_the_same_type_or_a_list_with_it(text, is_met):
    name, accepted = parse_required(text)

    assert holds(claim_at(CLAIMS, name), accepted) is is_met


@pytest.mark.parametrize("name", ["missing", "account.name", "realm_access.groups", "roles.0", ""])
def test_missing_claim_is_missing(name):
    assert claim_at(CLAIMS, name) is MISSING


@pytest.mark.parametrize("text", ["", "=", "=acme", "account=", "account=a|", "verified:=", "verified:=tru", ":=1"])
def test_invalid_requirement_is_an_error(text):
    with pytest.raises(ValueError):  # its text is not shown
        parse_required(text)


def test_scopes_count_in_each_of_the_configured_claims():
    names = ("scope", "realm_access.roles", "https://a.example/roles")
    claims = CLAIMS | {"scope": "read:orders"}

    assert scopes_of(claims, names) == {"read:orders", "manager", "x"}
    assert has_scopes(claims, "manager", "read:orders", names=names) and not has_scopes(claims, "manager")


CLIENTS = {
    "resource_access": {
        "shop": {"roles": ["read:shop"]},
        "my.shop.example": {"roles": ["read:dotted"]},
        "https://a.example/shop": {"roles": ["read:url"]},
        "half.of": {},
    },
    "https://acme.example/claims": {"roles": ["read:nested"]},
}


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("resource_access.shop.roles", "read:shop"),
        ("resource_access.my.shop.example.roles", "read:dotted"),
        ("resource_access.https://a.example/shop.roles", "read:url"),
        ("https://acme.example/claims.roles", "read:nested"),
    ],
)
def test_scope_path_reaches_members_whose_names_have_dots(path, scope):
    assert scopes_of(CLIENTS, [path]) == {scope}


@pytest.mark.parametrize(
    "path", ["resource_access.half.of.roles", "resource_access.my.roles", "resource_access.shop", "resource_access"]
)
def test_scope_path_to_no_list_grants_nothing(path):
    assert scopes_of(CLIENTS, [path]) == frozenset()


@pytest.mark.parametrize(
    ("value", "granted"),
    [
        ("  read:orders   write:orders ", {"read:orders", "write:orders"}),
        (["read:orders", {"read:x": True}, ["read:y"], None, 1, True, "write:orders"], {"read:orders", "write:orders"}),
        (["read:orders write:orders", " read:z", ""], {"read:orders write:orders", " read:z"}),
        ("read:orders\twrite:orders", {"read:orders\twrite:orders"}),
        ("read:orders\u00a0write:orders", {"read:orders\u00a0write:orders"}),
        ("read:orders,write:orders", {"read:orders,write:orders"}),
        ({"read:orders": True}, set()),
        ({"roles": ["read:orders"]}, set()),
        ([["read:orders"]], set()),
        (True, set()),
        (7, set()),
        (None, set()),
        ("", set()),
        ([], set()),
    ],
)
def test_scopes_are_strings_separated_by_spaces_or_members_of_a_list(value, granted):
    assert scopes_of({"scope": value}) == granted


@lru_cache
def application(*middleware, **settings):
    made = project_application.__wrapped__(**settings)  # one of its own: a route is added
    made.make("router").add(Route.get("/admin", ProtectedController.show).middleware(*middleware))
    return made


def respond(middleware, claims, **settings):
    headers = {"Authorization": f"Bearer {GATEWAY.token(**claims)}"} if claims is not None else {}
    return request(application(*middleware, **settings), "GET", "/admin", headers)


SCOPE_CLAIMS = "scope,permissions,roles,realm_access.roles,resource_access.my.shop.roles,https://a.example/roles"


@pytest.mark.parametrize(
    "claims",
    [
        {"permissions": ["read:orders", "write:orders"]},
        {"roles": "read:orders"},
        {"roles": ["read:orders"]},
        {"scope": ["read:orders"]},
        {"scope": "openid  read:orders"},
        {"realm_access": {"roles": ["read:orders"]}},
        {"resource_access": {"my.shop": {"roles": ["read:orders"]}}},
        {"https://a.example/roles": ["read:orders"]},
        {"realm_access.roles": ["read:orders"]},
    ],
)
def test_route_accepts_a_scope_in_each_of_the_configured_claims(claims):
    assert respond(["jwt:read:orders"], claims, JWT_SCOPE_CLAIMS=SCOPE_CLAIMS).status == 200


@pytest.mark.parametrize(
    "scope",
    [
        "READ:ORDERS",
        "read:ord\u0435rs",
        "\uff52ead:orders",
        "read:orders\u200b",
        "read:orders/",
        "read:order",
        "read",
        "orders",
        "*",
    ]
    + [
        ["read:orders write:orders"],
        [{"name": "read:orders"}],
        [["read:orders"]],
        {"read:orders": 1},
        True,
        1e300,
        None,
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        lambda scope: {"scope": scope},
        lambda scope: {"roles": scope},
        lambda scope: {"realm_access": {"roles": scope}},
        lambda scope: {"realm_access": scope},
        lambda scope: {"resource_access": {"my.shop": {"roles": scope}, "my": scope}},
    ],
)
def test_route_rejects_what_is_not_its_scope(place, scope):
    response = respond(["jwt:read:orders"], place(scope), JWT_SCOPE_CLAIMS=SCOPE_CLAIMS)

    assert (response.status, response.json["error"]) == (403, "Insufficient scope")


def test_guard_has_scopes_of_the_configured_claims():
    guard = application("jwt", JWT_SCOPE_CLAIMS="permissions").make("guard")

    assert guard.has_scopes({"permissions": ["a", "b"]}, "a", "b") and not guard.has_scopes({"scope": "a"}, "a")


@pytest.mark.parametrize("scope", ['read:"orders"', "read:\\orders", "read:ord\u0435rs", "a,,b", "a\x7f"])
def test_invalid_scope_of_a_route_is_an_error_at_start(scope):
    with pytest.raises(RouteError, match=r"is not the name of a scope|an argument is empty"):
        respond([f"jwt:{scope}"], {})


@pytest.mark.parametrize(
    ("claims", "status", "error"),
    [
        ({"roles": ["admin"]}, 200, None),
        ({"roles": ["user"]}, 403, "Forbidden"),
        ({}, 403, "Forbidden"),
        ({"roles": ["admin"], "exp": 1}, 401, "Token has expired"),
        (None, 401, "No token provided"),
    ],
)
def test_claims_middleware_requires_a_claim_of_a_valid_token(claims, status, error):
    response = respond(["jwt", "claims:roles=admin"], claims)

    assert (response.status, response.json.get("error")) == (status, error)
    assert status != 403 or "www-authenticate" not in response.headers


def test_invalid_requirement_of_a_route_is_an_error_at_start():
    with pytest.raises(RouteError, match="'roles=' is not name"):
        respond(["jwt", "claims:roles="], {})
    for empty in ("claims", "claims:", "claims:roles=admin,"):
        with pytest.raises(RouteError, match=r"requires nothing|argument is empty"):
            respond(["jwt", empty], {})


def test_claims_middleware_rejects_without_the_guard_too():
    assert respond(["claims:roles=admin"], None).status == 401
    assert respond(["claims:roles=admin"], {"roles": ["user"]}).status == 403


class CachedController(Controller):
    def show(self, request: Request, response: Response):
        response.header("Cache-Control", "public")
        return {"roles": request.user()["roles"]}


@pytest.mark.parametrize("middleware", [["jwt"], ["claims:roles=admin"], ["jwt", "claims:roles=admin"]])
def test_action_behind_each_guard_has_the_claims_and_a_response_that_is_not_stored(middleware):
    made = application(*middleware)
    made.make("router").add(Route.get("/cached", CachedController.show).middleware(*middleware))
    token = GATEWAY.token(roles=["admin"])
    response = request(made, "GET", "/cached", {"Authorization": f"Bearer {token}"})

    assert (response.status, response.json) == (200, {"roles": ["admin"]})
    assert response.headers["cache-control"] == "no-store"


def test_required_claims_and_scope_claims_are_settings():

    assert respond(["jwt:read:orders"], {"permissions": ["read:orders"]}, JWT_SCOPE_CLAIMS="permissions").status == 200
    assert respond(["jwt:read:orders"], {"scope": "read:orders"}, JWT_SCOPE_CLAIMS="permissions").status == 403
    assert respond(["jwt"], {"role": "owner"}, JWT_REQUIRED_CLAIMS="role=admin|owner").status == 200
    assert respond(["jwt"], {"role": "user"}, JWT_REQUIRED_CLAIMS="role=admin|owner").status == 401


@pytest.mark.parametrize(
    ("required", "claims", "is_met"),
    [
        ("sub", {}, True),
        ("sub", {"sub": None}, False),
        ("account=acme", {"account": "acme"}, True),
        ("account=acme", {"account": ["other", "acme"]}, True),
        ("account=acme", {"account": "acme,other"}, False),
        ("account=acme", {"account": "Acme"}, False),
        ("account=acme", {"account": {"acme": 1}}, False),
        ("account=acme", {}, False),
        ("role=admin|owner", {"role": ["user", "owner"]}, True),
        ("role=admin|owner", {"role": "admin|owner"}, False),
        ("verified:=true", {"verified": True}, True),
        ("verified:=true", {"verified": "true"}, False),
        ("verified:=true", {"verified": 1}, False),
        ("verified:=true", {"verified": [True]}, False),
        ("level:=[1]", {"level": [True]}, False),
        ("level:=1", {"level": 1}, True),
        ("level:=null", {}, False),
        ("https://a.example/roles=x", {"https://a.example/roles": "x"}, True),
        ("realm_access.roles=x", {"realm_access": {"roles": ["x"]}}, True),
        ("realm_access.roles=x", {"realm_access.roles": "y", "realm_access": {"roles": ["x"]}}, False),
    ],
)
def test_token_is_accepted_only_if_its_required_claims_hold(required, claims, is_met):
    response = respond(["jwt"], claims, JWT_REQUIRED_CLAIMS=required)

    assert response.status == (200 if is_met else 401)
