"""The container injects the same arguments as Masonite's, and binds objects for each request."""

from unittest.mock import Mock

import pytest
from masonite.foundation.Application import Application as MasoniteApplication
from masonite.request import Request as MasoniteRequest
from masonite.response import Response as MasoniteResponse

from package_tests.support.wsgi_client import environ
from zuplo_origin.http.application import Application
from zuplo_origin.http.requests import Request
from zuplo_origin.http.responses import Response


class Service:
    """Bound to the container."""


class Part:
    """Not bound: created for each injection."""


class Whole:
    def __init__(self, part: Part, service: Service):
        self.part, self.service = part, service


class Actions:
    def none(self):
        return ()

    def injected(self, request: MasoniteRequest, response: MasoniteResponse):
        return request, response

    def ours(self, response: Response, request: Request, service: Service):
        return response, request, service

    def places(self, first, request: MasoniteRequest, second):
        return first, request, second

    def plain(self, request: MasoniteRequest, number: int, text: str, many: list):
        return request, number, text, many

    def default(self, request: MasoniteRequest, page=7):
        return request, page

    def annotated_default(self, service: Service, page: int = 7):
        return service, page

    def made(self, part: Part, whole: Whole):
        return type(part), type(whole), type(whole.part), whole.service

    def rest(self, request: MasoniteRequest, *rest):
        return request, rest


CALLS = [
    ("none", ()),
    ("injected", ()),
    ("ours", ()),
    ("places", ("a", "b")),
    ("plain", (1, "b", [])),
    ("default", ()),
    ("annotated_default", (9,)),
    ("made", ()),
    ("rest", ()),
]


@pytest.mark.parametrize(("action", "arguments"), CALLS, ids=[action for action, _ in CALLS])
def test_resolve_passes_the_same_arguments_as_masonite(action, arguments):
    application = Application("/nowhere")
    service, request, response = Service(), Request(environ("GET", "/")), Response(application)
    application.bind("service", service)
    seen = []

    def handle(environ, start_response):
        bindings = application.objects
        bindings["environ"], bindings["request"], bindings["response"] = environ, request, response
        called = getattr(Actions(), action)
        seen.append(application.resolve(called, *arguments))
        seen.append(MasoniteApplication.resolve(application, called, *arguments))
        return []

    application.set_response_handler(handle)
    application(environ("GET", "/"), None)

    ours, masonites = seen
    assert ours == masonites


def test_resolve_raises_as_masonite_does_if_an_argument_is_missing():
    application = Application("/nowhere")

    for resolve in (application.resolve, lambda *them: MasoniteApplication.resolve(application, *them)):
        with pytest.raises(Exception, match="resolve"):
            resolve(Actions().places)


class Callable:
    def __call__(self):
        """Return nothing: it is a fake with a method that is called."""


def test_resolve_respects_swaps_and_hooks():
    application = Application("/nowhere")
    bound, swapped = Service(), Service()
    application.bind("service", bound)
    calls = []
    application.on_make("service", lambda made, container: calls.append(made))
    application.on_resolve(Service, lambda resolved, container: calls.append(resolved))
    assert application.make("service") is bound
    assert application.resolve(Actions().annotated_default, 1)[0] is bound
    assert calls == [bound, bound]

    application.swap(Service, swapped)
    assert application.resolve(Actions().annotated_default, 1)[0] is swapped


@pytest.mark.parametrize("swapped", [Mock(), Mock(spec=Service), Callable()])
def test_swapped_object_is_injected_though_it_can_be_called(swapped):
    application = Application("/nowhere")
    application.swap(Service, swapped)

    assert application.resolve(Actions().annotated_default, 1)[0] is swapped is application.make(Service)


def test_swapped_function_makes_the_object():
    application = Application("/nowhere")
    application.swap(Service, lambda kind, container: (kind, container))

    assert application.resolve(Actions().annotated_default, 1)[0] == (Service, application)


def test_make_returns_a_new_instance_of_a_bound_class_each_time():
    application = Application("/nowhere")
    application.bind("service", Service)

    first, second = application.make("service"), application.make("service")
    assert isinstance(first, Service) and isinstance(second, Service) and first is not second


def test_scoped_binding_makes_one_object_for_each_scope():
    application = Application("/nowhere")
    application.scoped("service", Service, Service)

    with application.scope():
        first = application.make("service")
        assert application.make("service") is first
        assert application.make(Service) is first
        assert application.resolve(Actions().annotated_default, 1)[0] is first
        with application.scope():
            assert application.make("service") is not first
        assert application.make("service") is first
    with application.scope():
        assert application.make("service") is not first

    assert application.has("service")
    assert application.make("service") is not application.make("service")


def test_scoped_binding_is_created_only_when_it_is_used():
    application = Application("/nowhere")
    created = []
    application.scoped("part", Part, lambda: created.append(1) or Part())
    application.bind("service", Service())

    with application.scope():
        application.resolve(Actions().annotated_default, 1)
        assert created == []
        application.make("part")
    assert created == [1]


def test_bind_and_swap_replace_a_scoped_binding():
    application = Application("/nowhere")
    application.scoped("service", Service, Service)
    swapped, bound = Service(), Service()

    application.swap(Service, swapped)
    assert application.resolve(Actions().annotated_default, 1)[0] is swapped
    application.bind("service", bound)
    assert application.make("service") is bound


def test_scope_calls_its_endings_in_reverse_and_an_exception_stops_no_other(caplog):
    application = Application("/nowhere")
    ended = []

    def fails():
        raise RuntimeError("ending")

    with application.scope() as scope:
        assert application.current_scope() is scope
        scope.at_end(lambda: ended.append("first"))
        scope.at_end(fails)
        scope.at_end(lambda: ended.append("last"))

    assert ended == ["last", "first"]
    assert application.current_scope() is None
    assert any(record.exc_info for record in caplog.records)
