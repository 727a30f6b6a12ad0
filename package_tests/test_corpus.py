"""The corpus: every case gets its status, reason and challenge, and no answer or log line holds any of the token."""

import json
import logging
import time

import pytest

from package_tests.support.corpus import Case, cases
from package_tests.support.gateway import GATEWAY as _issuer
from package_tests.support.wsgi_client import call, environ
from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.jwt.reasons import Reason

CASES = list(cases(_issuer))
_fresh = {"cases": CASES, "since": time.monotonic()}


def fresh(index: int) -> Case:
    """Return a case whose token was signed in the last minute, of the five that it lives."""
    if time.monotonic() - _fresh["since"] > 60:
        _fresh.update(cases=list(cases(_issuer)), since=time.monotonic())
    return _fresh["cases"][index]


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case.name for case in CASES])
def test_the_corpus(application, issuer, caplog, index):
    case = fresh(index)
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    made = environ("GET", "/protected")
    if case.header is not None:
        made["HTTP_AUTHORIZATION"] = case.header

    answer = call(application, made)

    lines = [record.getMessage() for record in caplog.records if record.name == "zuplo_origin.access"]
    if case.reason is None:
        assert answer.status == 200 and "reason=" not in lines[0], answer.body
        return
    expected = ERROR_RESPONSES[Reason(case.reason)]
    assert [line.split()[5] for line in lines] == [f"reason={case.reason}"], answer.body
    assert (answer.status, answer.json["error"]) == (expected.status, expected.error)
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="Zuplo origin"')
    assert ("error=" in challenge) is (case.reason != "no_token")
    assert answer.headers["cache-control"] == "no-store"
    for part in (case.header or "").replace(",", " ").replace(".", " ").split():
        if len(part) > 20:
            assert part not in lines[0] and part not in json.dumps(answer.header_list) + answer.body.decode()


def test_there_are_hundreds_of_cases_and_most_reasons_are_among_them():
    reasons = {case.reason for case in CASES}

    assert len(CASES) > 500
    elsewhere = {"claim_mismatch", "insufficient_scope", "keys_unavailable"}
    assert {reason.value for reason in Reason} - reasons == elsewhere
