"""Entity tags, conditional requests, and bodies that are read in chunks."""

import pytest
from masonite.controllers import Controller
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route

from package_tests.support.applications import application as make_application
from package_tests.support.wsgi_client import request
from zuplo_origin.http import etag_of

NOTE = {"id": 1, "text": "first"}
TAG = etag_of(NOTE)


class NotesController(Controller):
    def show(self, request: Request, response: Response):
        response.header("ETag", TAG)
        return (None, 304) if request.is_current(TAG) else NOTE

    def update(self, request: Request):
        request.check_match(TAG)
        return {"changed": True}

    def chunks(self, request: Request):
        sizes = []
        for chunk in request.chunks(1000):
            sizes.append(len(chunk))
            assert len(request.body()) == 2500  # another reader does not change what comes next
        return {"sizes": sizes, "again": sum(map(len, request.chunks()))}


@pytest.fixture(scope="module")
def application():
    return make_application(
        Route.get("/note", NotesController.show),
        Route.put("/note", NotesController.update),
        Route.post("/chunks", NotesController.chunks),
    )


def test_tag_is_strong_and_that_of_the_value():
    assert TAG == etag_of(dict(NOTE)) != etag_of(NOTE | {"text": "second"})
    assert TAG[0] == TAG[-1] == '"' and len(TAG) == 34


@pytest.mark.parametrize("sent", [TAG, f"W/{TAG}", f'"other", {TAG}', "*"])
def test_client_that_has_the_current_version_gets_304(application, sent):
    response = request(application, "GET", "/note", {"If-None-Match": sent})

    assert (response.status, response.body, response.headers["etag"]) == (304, b"", TAG)


@pytest.mark.parametrize("sent", ['"other"', TAG[:-2] + '"', "", "garbage"])
def test_client_without_the_current_version_gets_it(application, sent):
    response = request(application, "GET", "/note", {"If-None-Match": sent})

    assert (response.status, response.json, response.headers["etag"]) == (200, NOTE, TAG)


@pytest.mark.parametrize("sent", [TAG, f'"other", {TAG}', "*"])
def test_change_of_the_current_version_is_made(application, sent):
    assert request(application, "PUT", "/note", {"If-Match": sent}).status == 200


@pytest.mark.parametrize("sent", ['"other"', f"W/{TAG}", "", "garbage", '"', "," * 1000])
def test_change_of_another_version_is_412_with_the_current_tag(application, sent):
    response = request(application, "PUT", "/note", {"If-Match": sent})

    assert (response.status, response.headers["etag"]) == (412, TAG)


def test_change_without_if_match_is_428(application):
    response = request(application, "PUT", "/note")

    assert (response.status, response.json["error"]) == (428, "Precondition required")


def test_body_is_read_in_chunks(application):
    response = request(application, "POST", "/chunks", {"Content-Type": "text/csv"}, b"x" * 2500)

    assert response.json == {"sizes": [1000, 1000, 500], "again": 2500}


def test_chunks_of_an_empty_body_are_none(application):
    with_body = make_application(Route.post("/", EmptyController.show))
    assert request(with_body, "POST", "/").json == {"chunks": 0}


class EmptyController(Controller):
    def show(self, request: Request):
        return {"chunks": len(list(request.chunks()))}
