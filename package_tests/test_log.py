"""The log: its formats, its events, and the access log. Logged text cannot imitate a log line."""

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
from zuplo_origin.http.requests import REQUEST_ID, TRACE_ID, RequestLogRecord
from zuplo_origin.observability.logs import Event, JsonFormatter, LineFormatter


def record(message, *arguments, error=None, level=logging.INFO):
    exc_info = (type(error), error, error.__traceback__) if error else None
    return RequestLogRecord("zuplo_origin.access", level, "", 0, message, arguments, exc_info)


@pytest.fixture
def current_request():
    token, trace_token = REQUEST_ID.set("r-1"), TRACE_ID.set("t-1")
    yield
    REQUEST_ID.reset(token)
    TRACE_ID.reset(trace_token)


def test_line_has_the_format_of_the_standard_library():
    usual = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    ours = LineFormatter()
    for created in (1_700_000_000.25, 1_700_000_000.999, 1_700_000_001.0, 1_700_000_000.5):
        one = record("rejected reason=%s", "no_token")
        one.created, one.msecs = created, created % 1 * 1000
        assert ours.format(one) == usual.format(one)


def test_line_has_the_ids_of_the_current_request(current_request):
    one = record(Event("request", status=200))

    assert LineFormatter().format(one).endswith(" request status=200 rid=r-1 trace_id=t-1")
    members = json.loads(JsonFormatter().format(one))
    assert (members["rid"], members["trace_id"]) == ("r-1", "t-1")


def test_event_fields_are_members_in_json():
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


def test_extra_fields_are_formatted_as_an_event():
    one = record("jwks_rotated")
    one.fields = {"keys": 2, "issuer": "https://x"}

    assert LineFormatter().format(one).endswith(" jwks_rotated keys=2 issuer=https://x")
    members = json.loads(JsonFormatter().format(one))
    assert (members["event"], members["keys"], members["issuer"]) == ("jwks_rotated", 2, "https://x")


def test_fields_of_an_application_are_members_beside_its_message(current_request):
    logger = logging.getLogger("app.orders")
    own = {"invoice_id": 7, "note": "a\nb", "level": "high", "time": 1, "rid": "of another", "event": "e"}
    one = logger.makeRecord(logger.name, logging.INFO, "", 0, "paid %s", ("twice",), None)
    vars(one).update(own, object=str)

    members = json.loads(JsonFormatter().format(one))
    assert (members["message"], members["invoice_id"], members["note"]) == ("paid twice", 7, "a\nb")
    assert (members["level"], members["logger"], "event" in members) == ("info", "app.orders", False)
    assert members["time"] != 1 and members["object"] == "<class 'str'>"
    assert " paid twice invoice_id=7 note='a\\nb' object=\"<class 'str'>\"" in LineFormatter().format(one)


class Broken:
    def __str__(self):
        raise RuntimeError("no text")


CIRCULAR: list = []
CIRCULAR.append(CIRCULAR)


@pytest.mark.parametrize(
    "value", [{(1, 2): 3}, CIRCULAR, 10**5000, Broken(), {"a": Broken()}, float("nan"), {1, 2}], ids="abcdefg"
)
def test_field_that_cannot_be_written_loses_no_line(value):
    one = logging.makeLogRecord({"name": "app", "msg": "paid", "levelname": "INFO", "levelno": 20, "odd": value})

    members = json.loads(JsonFormatter().format(one))
    assert members["message"] == "paid" and "odd" in members
    assert " paid odd=" in LineFormatter().format(one)


@pytest.mark.parametrize(
    "fields", [["a"], "a", {"level": "critical", "event": "jwks_rotated", "name": 1, "self": 2}, None]
)
def test_field_of_an_application_that_is_called_fields_is_no_event(fields):
    one = logging.makeLogRecord(
        {"name": "app.orders", "msg": "paid", "levelname": "INFO", "levelno": 20, "fields": fields}
    )

    members = json.loads(JsonFormatter().format(one))
    assert (members["message"], members["level"], members["fields"]) == ("paid", "info", fields)
    assert "event" not in members and " paid fields=" in LineFormatter().format(one)


def test_text_of_a_field_cannot_imitate_another_field():
    text = str(Event("paid", user="a\u3000rid=other", note="a rid=other", tab="a\tb"))

    assert text == r"paid user='a\u3000rid=other' note='a rid=other' tab='a\tb'"


def test_text_with_arguments_is_a_message():
    assert json.loads(JsonFormatter().format(record("port %d", 80)))["message"] == "port 80"


def test_event_field_is_quoted_if_it_is_empty_or_contains_a_space():
    assert str(Event("e", why="a b", x="")) == "e why='a b' x=''"


@given(st.text(), st.text())
def test_any_text_is_logged_as_one_line(message, field):
    for one in (record("%s", message), record(Event("e", field=field))):
        line = LineFormatter().format(one)
        assert len(line.splitlines()) == 1 and not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
        encoded = JsonFormatter().format(one)
        assert len(encoded.splitlines()) == 1 and encoded.isascii()
    assert json.loads(encoded)["field"] == field


@pytest.mark.parametrize("value", [2**70, "\ud800", {1, 2}, float("nan"), None])
def test_json_formatter_accepts_any_value(value):
    assert "\n" not in JsonFormatter().format(record(Event("e", value=value)))


@given(st.text())
def test_traceback_lines_begin_with_a_bar(text):
    try:
        raise LookupError(text)
    except LookupError as error:
        one = record("unhandled_exception", error=error)

    first, *others = LineFormatter().format(one).splitlines()
    assert first.endswith("unhandled_exception") and others
    assert all(line.startswith("  | ") for line in others)
    assert len(JsonFormatter().format(one).splitlines()) == 1


def test_traceback_is_a_member_in_json():
    try:
        raise LookupError("gone")
    except LookupError as error:
        line = json.loads(JsonFormatter().format(record("unhandled_exception", error=error)))

    assert line["exception"].startswith("Traceback") and line["exception"].endswith("LookupError: gone")


# -- requests ---------------------------------------------------------------------------------------------------------


def access_lines(caplog):
    return [one.getMessage() for one in caplog.records if one.name == "zuplo_origin.access"]


def test_request_is_logged_once_with_its_route_and_not_its_path(application, caplog):
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


def test_request_with_an_unhandled_exception_is_logged_with_its_route(caplog):
    from zuplo_origin.observability.logs import AccessLog

    made = made_of(Route.get("/breaks/@id", EchoController.breaks))
    made.make("observers").append(AccessLog())
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    request(made, "GET", "/breaks/7")

    assert access_lines(caplog)[0].startswith("request method=GET route=/breaks/@id status=500 ms=")


@pytest.fixture
def lines(caplog):
    """The lines of the access log, formatted for development."""
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    lines, handler = [], logging.Handler()
    handler.setFormatter(LineFormatter())
    handler.emit = lambda one: lines.append(handler.format(one))
    log = logging.getLogger("zuplo_origin.access")
    log.addHandler(handler)
    yield lines
    log.removeHandler(handler)


def test_gateway_request_id_is_logged_and_not_returned(application, lines):
    ids = ["3f0b-1.a_B", "x" * 64]
    responses = [request(application, "GET", "/health/live", {"zp-rid": each}) for each in ids]

    assert [line.rpartition(" rid=")[2] for line in lines] == ids
    assert not any("zp-rid" in response.headers for response in responses)


@pytest.mark.parametrize("sent", [None, "", "a b", "a\nb", "x" * 65, "é", 'a"b', "1,2"])
def test_request_id_is_generated_logged_and_returned_without_a_valid_one(application, lines, sent):
    headers = {} if sent is None else {"zp-rid": sent}
    ids = [request(application, "GET", "/health/live", headers).headers["zp-rid"] for _ in range(2)]

    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids) and ids[0] != ids[1]
    assert [line.rpartition(" rid=")[2] for line in lines] == ids


def test_request_observer_that_raises_does_not_change_the_response(caplog):
    made = made_of()
    made.make("observers").append(lambda request, status, seconds: 1 / 0)

    assert request(made, "GET", "/plain").status == 200
    assert [one.getMessage() for one in caplog.records] == ["request_observer_failed"]
    assert "ZeroDivisionError" in caplog.text


# -- the handler ------------------------------------------------------------------------------------------------------


def test_lines_of_concurrent_threads_and_processes_are_not_interleaved(tmp_path):
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
