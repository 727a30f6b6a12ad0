"""Injection: what an action is called with is looked up once, and is what Masonite would have given it."""

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
    """Not bound: made as it is asked for."""


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
def test_an_action_is_called_as_masonite_would_call_it(action, arguments):
    application = Application("/nowhere")
    service, request, response = Service(), Request(environ("GET", "/")), Response(application)
    application.bind("service", service)
    seen = []

    def answer(environ, start_response):
        bindings = application.objects
        bindings["environ"], bindings["request"], bindings["response"] = environ, request, response
        called = getattr(Actions(), action)
        seen.append(application.resolve(called, *arguments))
        seen.append(MasoniteApplication.resolve(application, called, *arguments))
        return []

    application.set_response_handler(answer)
    application(environ("GET", "/"), None)

    ours, masonites = seen
    assert ours == masonites


def test_a_missing_argument_is_the_same_error():
    application = Application("/nowhere")

    for resolve in (application.resolve, lambda *them: MasoniteApplication.resolve(application, *them)):
        with pytest.raises(Exception, match="resolve"):
            resolve(Actions().places)


def test_swaps_and_hooks_are_asked_first():
    application = Application("/nowhere")
    bound, swapped = Service(), Service()
    application.bind("service", bound)
    heard = []
    application.on_make("service", lambda made, container: heard.append(made))
    application.on_resolve(Service, lambda resolved, container: heard.append(resolved))
    assert application.make("service") is bound
    assert application.resolve(Actions().annotated_default, 1)[0] is bound
    assert heard == [bound, bound]

    application.swap(Service, swapped)
    assert application.resolve(Actions().annotated_default, 1)[0] is swapped


def test_a_class_that_is_bound_is_made_anew_each_time():
    application = Application("/nowhere")
    application.bind("service", Service)

    first, second = application.make("service"), application.make("service")
    assert isinstance(first, Service) and isinstance(second, Service) and first is not second
