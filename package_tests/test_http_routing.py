"""Routes match exactly, and invalid ones raise when they are registered."""

import time

import pytest
from masonite.exceptions import InvalidRouteCompileException, RouteMiddlewareNotFound
from masonite.routes import Route

from package_tests.support.applications import EchoController, application
from package_tests.support.wsgi_client import request
from zuplo_origin.http.errors import HttpException
from zuplo_origin.http.routing import RouteError


def routed(path, *routes, method="GET"):
    return request(application(*routes), method, path)


@pytest.mark.parametrize("path", ["/plain/", "//plain", "/plain/x", "/PLAIN", "/plai", "plain", "*", "/x/../plain"])
def test_path_matches_exactly_or_not_at_all(path):
    response = routed(path)

    assert (response.status, response.json) == (404, {"error": "Not found"})


def test_path_is_decoded_as_utf_8():
    """PEP 3333: each byte of the path is one character of latin-1."""
    routes = [Route.get("/caf\u00e9", EchoController.plain), Route.get("/u/@name", EchoController.params)]

    def on_the_wire(path):
        return path.encode().decode("latin-1")

    assert routed(on_the_wire("/caf\u00e9"), *routes).status == 200
    assert routed(on_the_wire("/u/Zo\u00eb"), *routes).json == {"name": "Zo\u00eb"}
    for broken in ("/u/\xff", "/u/\xc3", "/u/\u20ac", on_the_wire("/u/\x85")):
        assert routed(broken, *routes).status == 400


@pytest.mark.parametrize("path", ["/plain\n", "/plain\x00", "/\x7f", "/plain\r\nX: y", "\t"])
def test_path_with_control_characters_is_a_bad_request(path):
    response = routed(path)

    assert (response.status, response.json) == (400, {"error": "Bad request"})


def test_dot_in_a_route_is_literal():
    route = Route.get("/openapi.json", EchoController.plain)

    assert routed("/openapi.json", route).status == 200
    assert routed("/openapiXjson", route).status == 404


def test_parameters_are_passed_by_name_and_by_position():
    routes = [
        Route.get("/orders/@order/items/@item:int", EchoController.params),
        Route.get("/by/@first/@second", EchoController.positional),
    ]

    assert routed("/orders/a-1/items/7", *routes).json == {"order": "a-1", "item": 7}
    assert routed("/orders/a-1/items/x", *routes).status == 404
    assert routed("/orders//items/7", *routes).status == 404
    assert routed("/by/a/b", *routes).json == {"first": "a", "second": "b"}


def test_parameter_is_cast_and_does_not_match_if_it_cannot_be_cast():
    route = Route.get("/n/@n:int", EchoController.params).casts({"n": int})

    assert routed("/n/7", route).json == {"n": 7}
    assert routed(f"/n/{'9' * 5000}", route).status == 404


def test_last_parameter_can_be_optional_or_match_the_rest_of_the_path():
    routes = [
        Route.get("/maybe/?name", EchoController.params),
        Route.get("/files/@path:any", EchoController.params),
    ]

    assert routed("/maybe", *routes).json == {"name": None}
    assert routed("/maybe/x", *routes).json == {"name": "x"}
    assert routed("/files/a/b.txt", *routes).json == {"path": "a/b.txt"}


def test_first_registered_route_is_used_if_several_match():
    first = Route.get("/u/@name", EchoController.params)
    second = Route.get("/u/me", EchoController.plain)

    assert routed("/u/me", first, second).json == {"name": "me"}
    assert routed("/u/me", second, first).json == {"ok": True}


def test_allow_lists_the_methods_of_all_routes_of_the_path():
    routes = [Route.get("/x", EchoController.plain), Route.post("/x", EchoController.plain)]

    response = routed("/x", *routes, method="DELETE")

    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert routed("/x", *routes, method="POST").status == 200


@pytest.mark.parametrize("method", ["get", "FOO", "TRACE", "PROPFIND", ""])
def test_method_is_case_sensitive_and_not_allowed_if_unknown(method):
    assert routed("/plain", method=method).status == 405


def test_query_field_does_not_override_the_method():
    response = routed("/plain?__method=GET", Route.get("/plain", EchoController.plain), method="DELETE")

    assert response.status == 405


def test_lookup_compares_equally_many_patterns_with_10_and_with_1000_routes():
    def comparisons(count):
        """Return how often the router compares a part of a path with a pattern."""
        routes = [Route.get(f"/r{n}/@id/x{n}", EchoController.plain) for n in range(count)]
        router = application(*routes).make("router")
        with pytest.raises(HttpException):
            router.match("/nope", "GET")
        compiled, matched = router._tree._compiled, []

        class Counting:
            def __init__(self, pattern):
                self.pattern = pattern

            def fullmatch(self, text):
                matched.append(text)
                return self.pattern.fullmatch(text)

        router._tree._compiled = {text: Counting(pattern) for text, pattern in compiled.items()}
        for path in ("/nope", f"/r{count - 1}/7/nope", "/r0/7/8/9"):
            with pytest.raises(HttpException):
                router.match(path, "GET")
        return len(matched)

    assert comparisons(1000) == comparisons(10)


def test_path_of_20000_parts_is_rejected_within_seconds():
    began = time.perf_counter()

    assert routed("/" + "a/" * 20_000, Route.get("/@a/@b/@c", EchoController.params)).status == 404
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("url", ["/x@id", "/?a/b", "/@id:nothing", "/a?b"])
def test_route_with_an_invalid_url_raises_when_it_is_registered(url):
    with pytest.raises((RouteError, InvalidRouteCompileException)):
        application(Route.get(url, EchoController.params))


def test_route_without_an_action_raises_when_it_is_registered():
    class Broken:
        pass

    route = Route.get("/x", EchoController.plain)
    route.controller_method = "missing"
    with pytest.raises(RouteError, match="no controller action"):
        application(route)


@pytest.mark.parametrize("key", ["unknown", "nothing", "unknown:argument"])
def test_route_with_unregistered_middleware_raises_when_it_is_registered(key):
    with pytest.raises(RouteMiddlewareNotFound, match="Kernel"):
        application(Route.get("/x", EchoController.plain).middleware(key))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Route.get("/a/@x", EchoController.plain), Route.get("/a/@y", EchoController.params)),
        (Route.get("/a/@x:int", EchoController.plain), Route.get("/a/@y:int", EchoController.params)),
        (Route.get("/a", EchoController.plain), Route.get("/a/?x", EchoController.params)),
        (Route.match(["GET", "POST"], "/a", EchoController.plain), Route.post("/a", EchoController.params)),
        (Route.get("/@x:any", EchoController.plain), Route.get("/@y:any", EchoController.params)),
    ],
)
def test_two_routes_of_one_path_and_method_are_an_error_that_names_both(first, second):
    with pytest.raises(RouteError, match=r"(GET|POST) /.* and GET /.* are the same route"):
        application(first, second)
    with pytest.raises(RouteError, match="are the same route"):
        application(first).make("router").add(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Route.get("/a/@x:int", EchoController.plain), Route.get("/a/@x", EchoController.params)),
        (Route.get("/a/b", EchoController.plain), Route.get("/a/@x", EchoController.params)),
        (Route.get("/a", EchoController.plain), Route.post("/a", EchoController.params)),
        (Route.get("/a/@x", EchoController.plain), Route.get("/a/@x:any", EchoController.params)),
    ],
)
def test_routes_of_different_paths_or_methods_are_both_registered(first, second):
    assert len(application(first, second).make("router").routes) == 2
