"""Routes: whole, literally, and one look-up among however many."""

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
def test_a_path_is_taken_as_it_stands(path):
    answer = routed(path)

    assert (answer.status, answer.json) == (404, {"error": "Not found"})


def test_paths_are_utf_8():
    """As PEP 3333 has them: the bytes, each as one character of latin-1."""
    routes = [Route.get("/caf\u00e9", EchoController.plain), Route.get("/u/@name", EchoController.params)]

    def on_the_wire(path):
        return path.encode().decode("latin-1")

    assert routed(on_the_wire("/caf\u00e9"), *routes).status == 200
    assert routed(on_the_wire("/u/Zo\u00eb"), *routes).json == {"name": "Zo\u00eb"}
    for broken in ("/u/\xff", "/u/\xc3", "/u/\u20ac", on_the_wire("/u/\x85")):
        assert routed(broken, *routes).status == 400


@pytest.mark.parametrize("path", ["/plain\n", "/plain\x00", "/\x7f", "/plain\r\nX: y", "\t"])
def test_control_characters_in_a_path_are_refused(path):
    answer = routed(path)

    assert (answer.status, answer.json) == (400, {"error": "Bad request"})


def test_a_dot_in_a_route_stands_for_itself():
    route = Route.get("/openapi.json", EchoController.plain)

    assert routed("/openapi.json", route).status == 200
    assert routed("/openapiXjson", route).status == 404


def test_parameters_are_handed_over_by_name_and_by_place():
    routes = [
        Route.get("/orders/@order/items/@item:int", EchoController.params),
        Route.get("/by/@first/@second", EchoController.positional),
    ]

    assert routed("/orders/a-1/items/7", *routes).json == {"order": "a-1", "item": "7"}
    assert routed("/orders/a-1/items/x", *routes).status == 404
    assert routed("/orders//items/7", *routes).status == 404
    assert routed("/by/a/b", *routes).json == {"first": "a", "second": "b"}


def test_casts_are_applied_and_a_value_that_has_none_is_no_match():
    route = Route.get("/n/@n:int", EchoController.params).casts({"n": int})

    assert routed("/n/7", route).json == {"n": 7}
    assert routed(f"/n/{'9' * 5000}", route).status == 404


def test_the_last_parameter_may_be_missing_or_take_the_rest():
    routes = [
        Route.get("/maybe/?name", EchoController.params),
        Route.get("/files/@path:any", EchoController.params),
    ]

    assert routed("/maybe", *routes).json == {"name": None}
    assert routed("/maybe/x", *routes).json == {"name": "x"}
    assert routed("/files/a/b.txt", *routes).json == {"path": "a/b.txt"}


def test_of_several_routes_the_first_registered_is_taken():
    first = Route.get("/u/@name", EchoController.params)
    second = Route.get("/u/me", EchoController.plain)

    assert routed("/u/me", first, second).json == {"name": "me"}
    assert routed("/u/me", second, first).json == {"ok": True}


def test_methods_of_several_routes_are_told_together():
    routes = [Route.get("/x", EchoController.plain), Route.post("/x", EchoController.plain)]

    answer = routed("/x", *routes, method="DELETE")

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert routed("/x", *routes, method="POST").status == 200


@pytest.mark.parametrize("method", ["get", "FOO", "TRACE", "PROPFIND", ""])
def test_a_method_is_taken_as_it_was_sent(method):
    assert routed("/plain", method=method).status == 405


def test_no_field_overrides_the_method():
    answer = routed("/plain?__method=GET", Route.get("/plain", EchoController.plain), method="DELETE")

    assert answer.status == 405


def test_a_miss_among_many_routes_costs_what_it_costs_among_few():
    def looks(count):
        """Comparisons with a route's pattern, as the router makes them."""
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

    assert looks(1000) == looks(10)


def test_a_long_path_is_answered_at_once():
    began = time.perf_counter()

    assert routed("/" + "a/" * 20_000, Route.get("/@a/@b/@c", EchoController.params)).status == 404
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("url", ["/x@id", "/?a/b", "/@id:nothing", "/a?b"])
def test_a_route_that_cannot_be_meant_is_found_as_it_is_registered(url):
    with pytest.raises((RouteError, InvalidRouteCompileException)):
        application(Route.get(url, EchoController.params))


def test_an_action_that_is_not_there_is_found_as_the_route_is_registered():
    class Broken:
        pass

    route = Route.get("/x", EchoController.plain)
    route.controller_method = "missing"
    with pytest.raises(RouteError, match="no controller action"):
        application(route)


@pytest.mark.parametrize("key", ["unknown", "nothing", "unknown:argument"])
def test_a_middleware_that_is_not_registered_is_found_as_the_route_is_registered(key):
    with pytest.raises(RouteMiddlewareNotFound, match="Kernel"):
        application(Route.get("/x", EchoController.plain).middleware(key))
