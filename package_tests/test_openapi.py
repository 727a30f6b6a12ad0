"""The API description, generated from the routes."""

import pytest
from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from package_tests.support.applications import application as application_of
from package_tests.support.wsgi_client import request
from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.openapi import responds
from zuplo_origin.openapi.description import Description
from zuplo_origin.services import ThrottleRequestsMiddleware


class ThingController(Controller):
    """Things."""

    def show(self, response: Response, id, part=None):
        """Show a thing.

        Whole, or a part of it.
        """
        return {}

    def store(self, request: Request):
        return {}


def description(*routes, header="Authorization", scheme="Bearer"):
    made = application_of(*routes)
    return Description(made.make("router"), "Things", "1.2.3", header, scheme)


@pytest.fixture
def described(application):
    return request(application, "GET", "/openapi.json").json


def test_description_is_valid_and_has_all_routes(application, described):
    validate(described, cls=OpenAPIV31SpecValidator)
    routes = {(route.url, "get") for route in application.make("router").routes}

    assert described["openapi"].startswith("3.1")
    assert {(path, method) for path, entry in described["paths"].items() for method in entry} == routes


def test_guarded_route_has_the_security_scheme_and_the_guards_errors(described):
    operation = described["paths"]["/protected"]["get"]

    assert described["components"]["securitySchemes"]["gateway"]["scheme"] == "bearer"
    assert operation["security"] == [{"gateway": []}]
    assert set(operation["responses"]) == {"200", "400", "401", "500", "503"}
    assert operation["summary"] == "Return the claims of the caller's token"


def test_open_route_has_no_security_and_no_401(described):
    operation = described["paths"]["/health/live"]["get"]

    assert "security" not in operation and "401" not in operation["responses"]


def test_error_of_every_reason_is_an_example(described):
    responses = described["components"]["responses"]
    for reason, rejection in ERROR_RESPONSES.items():
        if str(rejection.status) in responses:
            example = responses[str(rejection.status)]["content"]["application/json"]["examples"][reason.value]["value"]
            assert (example["error"], example.get("details")) == (rejection.error, rejection.details)
    assert {"401", "503"} <= set(responses)


def test_operation_has_parameters_body_and_docstring_of_the_action():
    made = description(
        Route.get("/things/@id:int/?part", ThingController.show).middleware("probe"),
        Route.post("/things", ThingController.store),
        Route.put("/things/@id", ThingController.store),
        Route.delete("/things/@id", ThingController.store),
    )
    made._router._middlewares.add({"jwt": []})
    document = made.document()
    validate(document, cls=OpenAPIV31SpecValidator)

    whole, part = (document["paths"][path]["get"] for path in ("/things/{id}", "/things/{id}/{part}"))
    assert [each["name"] for each in whole["parameters"]] == ["id"]
    assert [each["name"] for each in part["parameters"]] == ["id", "part"]
    assert part["parameters"][0]["schema"] == {"type": "integer", "format": "int64", "minimum": 0}
    assert (part["summary"], part["description"]) == ("Show a thing", "Whole, or a part of it.")
    assert part["operationId"] != whole["operationId"]
    assert "404" in part["responses"] and "404" not in document["paths"]["/things"]["post"]["responses"]
    store = document["paths"]["/things"]["post"]
    assert "*/*" in store["requestBody"]["content"] and {"408", "413", "415"} <= set(store["responses"])
    assert set(document["paths"]["/things/{id}"]) == {"get", "put", "delete"}


def test_limits_of_a_route_are_described():
    made = description(Route.get("/things", ThingController.show))
    made._router._middlewares.add({"throttle": [ThrottleRequestsMiddleware]})
    made._router.add(
        Route.get("/limited", ThingController.show).middleware("throttle:30/minute"),
        Route.get("/larger", ThingController.show).middleware("body:20MB"),
    )
    document = made.document()
    validate(document, cls=OpenAPIV31SpecValidator)

    statuses = {path: set(each["get"]["responses"]) for path, each in document["paths"].items()}
    assert statuses["/limited"] - statuses["/things"] == {"429"}
    assert statuses["/larger"] - statuses["/things"] == {"413"}
    assert document["components"]["responses"]["429"]["headers"].keys() == {"Retry-After"}


class VersionController(Controller):
    @responds(200)
    @responds(428)
    def update(self, id):
        return {}


def test_action_that_declares_428_requires_if_match():
    document = description(
        Route.put("/things/@id", VersionController.update), Route.put("/others/@id", ThingController.store)
    ).document()
    validate(document, cls=OpenAPIV31SpecValidator)
    operations = {path: each["put"] for path, each in document["paths"].items()}
    (id, header), others = operations["/things/{id}"]["parameters"], operations["/others/{id}"]["parameters"]

    assert (header["name"], header["in"], header["required"]) == ("If-Match", "header", True)
    assert id["in"] == "path" and [each["name"] for each in others] == ["id"]
    added = set(operations["/things/{id}"]["responses"]) - set(operations["/others/{id}"]["responses"])
    assert added == {"412", "428"}
    assert document["components"]["responses"]["412"]["headers"].keys() == {"ETag"}


def test_route_with_scopes_has_them_and_a_403(application):
    router = application.make("router")
    before = router.routes
    try:
        router.add(Route.get("/things", ThingController.store).middleware("jwt:read:things,write:things"))
        router.add(Route.post("/things", ThingController.store).middleware("jwt", "claims:role=admin"))
        described = request(application, "GET", "/openapi.json").json["paths"]["/things"]
        operation = described["get"]
    finally:
        router.routes = before

    assert operation["security"] == [{"gateway": ["read:things", "write:things"]}]
    assert "403" in operation["responses"] and "403" in described["post"]["responses"]
    assert "/things" not in request(application, "GET", "/openapi.json").json["paths"]


def test_security_scheme_names_the_configured_header():
    document = description(header="X-Service-Token", scheme="").document()
    validate(document, cls=OpenAPIV31SpecValidator)

    scheme = document["components"]["securitySchemes"]["gateway"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "X-Service-Token")
