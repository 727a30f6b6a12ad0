"""The corpus: each case gets its status, reason and challenge; no response or log line contains a part of the token."""

import json
import logging
import time

import pytest

from package_tests.support.corpus import cases
from package_tests.support.gateway import GATEWAY as _issuer
from package_tests.support.wsgi_client import call, environ
from zuplo_origin.guard import ERROR_RESPONSES
from zuplo_origin.jwt.reasons import Reason

NAMES = [case.name for case in cases(_issuer)]


class FreshCases:
    """The cases by name. Their tokens live for five minutes, so they are signed again when they are a minute old."""

    def __init__(self):
        self._signed_at = None
        self._by_name = {}

    def __getitem__(self, name):
        if self._signed_at is None or time.monotonic() - self._signed_at > 60:
            self._signed_at = time.monotonic()
            self._by_name = {case.name: case for case in cases(_issuer)}
        return self._by_name[name]


FRESH_CASES = FreshCases()


@pytest.mark.parametrize("name", NAMES)
def test_case_of_the_corpus_has_its_response_and_log_line(application, issuer, caplog, name):
    case = FRESH_CASES[name]
    caplog.set_level(logging.INFO, "zuplo_origin.access")
    made = environ("GET", "/protected")
    if case.header is not None:
        made["HTTP_AUTHORIZATION"] = case.header

    for key_set in application.make("jwks").values():
        key_set.reset()  # a cooldown window of its own: unknown keys of other cases have spent the fetches of the last
    response = call(application, made)

    lines = [record.getMessage() for record in caplog.records if record.name == "zuplo_origin.access"]
    if case.reason is None:
        assert response.status == 200 and "reason=" not in lines[0], response.body
        return
    expected = ERROR_RESPONSES[Reason(case.reason)]
    assert [line.split()[5] for line in lines] == [f"reason={case.reason}"], response.body
    assert (response.status, response.json["error"]) == (expected.status, expected.error)
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="Zuplo origin"')
    assert ("error=" in challenge) is (case.reason != "no_token")
    assert response.headers["cache-control"] == "no-store"
    for part in (case.header or "").replace(",", " ").replace(".", " ").split():
        if len(part) > 20:
            assert part not in lines[0] and part not in json.dumps(response.header_list) + response.body.decode()


def test_corpus_has_cases_for_every_reason_to_reject_a_token():
    reasons = {case.reason for case in cases(_issuer)}

    assert len(NAMES) == len(set(NAMES)) > 500
    elsewhere = {"claim_mismatch", "insufficient_scope", "keys_unavailable"}
    assert {reason.value for reason in Reason} - reasons == elsewhere
