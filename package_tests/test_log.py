"""What is written to the log, and how: nobody who sends anything can write a line of their own."""

import json
import logging
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from package_tests.support.applications import EchoController, Route
from package_tests.support.applications import application as made_of
from package_tests.support.servers import ROOT
from package_tests.support.wsgi_client import request
from zuplo_origin.http.requests import REQUEST_ID
from zuplo_origin.observability.logs import Event, JsonFormatter, LineFormatter


def record(message, *arguments, error=None, level=logging.INFO):
    told = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("zuplo_origin.access", level, "", 0, message, arguments, told)


@pytest.fixture
def request_under_way():
    token = REQUEST_ID.set("r-1")
    yield
    REQUEST_ID.reset(token)


def test_a_line_looks_as_the_standard_library_writes_it():
    usual = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    ours = LineFormatter()
    for created in (1_700_000_000.25, 1_700_000_000.999, 1_700_000_001.0, 1_700_000_000.5):
        one = record("refused reason=%s", "no_token")
        one.created, one.msecs = created, created % 1 * 1000
        assert ours.format(one) == usual.format(one)


def test_a_line_names_its_request(request_under_way):
    assert LineFormatter().format(record(Event("request", status=200))).endswith(" request status=200 rid=r-1")
    assert json.loads(JsonFormatter().format(record(Event("request", status=200))))["rid"] == "r-1"


def test_an_event_is_members_in_json():
    one = record(Event("jwks_rotated", issuer="https://x", keys=2), level=logging.WARNING)
    one.created, one.msecs = 1_700_000_000.25, 250.0

    assert json.loads(JsonFormatter().format(one)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "zuplo_origin.access",
        "event": "jwks_rotated",
        "issuer": "https://x",
        "keys": 2,
    }
    assert LineFormatter().format(one).endswith(" WARNING zuplo_origin.access jwks_rotated issuer=https://x keys=2")


def test_a_text_with_arguments_is_a_message():
    assert json.loads(JsonFormatter().format(record("port %d", 80)))["message"] == "port 80"


def test_a_field_with_blanks_is_told_from_two():
    assert str(Event("e", why="a b", x="")) == "e why='a b' x=''"


@given(st.text(), st.text())
def test_whatever_is_logged_is_one_line(message, field):
    for one in (record("%s", message), record(Event("e", field=field))):
        line = LineFormatter().format(one)
        assert len(line.splitlines()) == 1 and not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
        encoded = JsonFormatter().format(one)
        assert len(encoded.splitlines()) == 1 and encoded.isascii()
    assert json.loads(encoded)["field"] == field


@pytest.mark.parametrize("value", [2**70, "\ud800", {1, 2}, float("nan"), None])
def test_json_takes_any_value(value):
    assert "\n" not in JsonFormatter().format(record(Event("e", value=value)))


@given(st.text())
def test_a_traceback_stands_behind_bars(text):
    try:
        raise LookupError(text)
    except LookupError as error:
        one = record("the application broke", error=error)

    first, *others = LineFormatter().format(one).splitlines()
    assert first.endswith("the application broke") and others
    assert all(line.startswith("  | ") for line in others)
    assert len(JsonFormatter().format(one).splitlines()) == 1


def test_a_traceback_is_a_member_in_json():
    try:
        raise LookupError("gone")
    except LookupError as error:
        line = json.loads(JsonFormatter().format(record("the application broke", error=error)))

    assert line["exception"].startswith("Traceback") and line["exception"].endswith("LookupError: gone")


# -- requests ---------------------------------------------------------------------------------------------------------


def access_lines(caplog):
    return [one.getMessage() for one in caplog.records if one.name == "zuplo_origin.access"]


def test_each_request_is_one_line_with_its_route_and_never_its_path(application, caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    request(application, "GET", "/health/live?token=secret-1")
    request(application, "GET", "/secret-2/%0a")
    request(application, "SECRET-3", "/protected")
    request(application, "OPTIONS", "/protected")

    lines = [re.sub(r"ms=[0-9.]+", "ms=", line) for line in access_lines(caplog)]
    assert lines == [
        "request method=GET route=/health/live status=200 ms=",
        "request method=GET route=- status=404 ms=",
        "request method=other route=- status=405 ms=",
        "request method=OPTIONS route=- status=204 ms=",
    ]


def test_a_mistake_of_the_application_is_an_access_line_too(caplog):
    from zuplo_origin.observability.logs import AccessLog

    made = made_of(Route.get("/breaks/@id", EchoController.breaks))
    made.make("observers").append(AccessLog())
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    request(made, "GET", "/breaks/7")

    assert access_lines(caplog)[0].startswith("request method=GET route=/breaks/@id status=500 ms=")


def test_the_gateways_id_is_taken_over(application):
    answer = request(application, "GET", "/health/live", {"zp-rid": "3f0b-1.a_B"})

    assert "zp-rid" not in answer.headers


@pytest.mark.parametrize("sent", [None, "", "a b", "a\nb", "x" * 65, "é", 'a"b', "1,2"])
def test_an_id_is_made_where_there_is_none_and_returned(application, caplog, sent):
    caplog.set_level(logging.INFO)
    formatted = []
    handler = logging.Handler()
    handler.emit = lambda one: formatted.append(LineFormatter().format(one))
    logging.getLogger("zuplo_origin.access").addHandler(handler)
    answer = request(application, "GET", "/health/live", {} if sent is None else {"zp-rid": sent})
    logging.getLogger("zuplo_origin.access").removeHandler(handler)

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["zp-rid"])
    assert formatted[0].endswith(f" rid={answer.headers['zp-rid']}")


def test_a_broken_observer_breaks_no_request(caplog):
    made = made_of()
    made.make("observers").append(lambda request, status, seconds: 1 / 0)

    assert request(made, "GET", "/plain").status == 200
    assert "ZeroDivisionError" in caplog.text


# -- where lines are written ------------------------------------------------------------------------------------------


def test_lines_of_many_threads_and_processes_are_whole(tmp_path):
    program = """
import logging, os, threading
from zuplo_origin.observability.logs import set_up
set_up("production")
os.fork()
log = logging.getLogger("zuplo_origin")
threads = [threading.Thread(target=lambda: [log.info("x" * 3000) for _ in range(200)]) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
os._exit(0)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    lines = ended.stderr.splitlines()

    assert len(lines) == 2 * 8 * 200
    assert {json.loads(line)["message"] for line in lines} == {"x" * 3000}
