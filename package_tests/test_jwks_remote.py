"""The cached key set of a real issuer: when it is fetched, and which callers wait. Tests set the clock."""

import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from itertools import pairwise

import pytest

from package_tests.support.clock import Clock, poll
from package_tests.support.issuer import send
from package_tests.support.key_sets import ES256, KeySetHarness
from package_tests.support.servers import ROOT
from package_tests.support.signing import Key
from zuplo_origin.jwks.client import KeysUnavailable, Policy, RemoteKeySet
from zuplo_origin.jwks.fetch import Source
from zuplo_origin.jwks.key_sets import KeySets


@pytest.fixture
def make_harness():
    made = []

    def make(**options):
        made.append(KeySetHarness(**options))
        return made[-1]

    yield make
    for one in made:
        one.issuer.close()


def hang_up(handler, release):
    """Send nothing until `release`, then close the connection."""
    release.wait(30)
    handler.close_connection = True


def unavailable(look_up):
    with pytest.raises(KeysUnavailable) as caught:
        look_up()
    return caught.value.retry_after


# -- fresh, stale, expired --------------------------------------------------------------------------------------------


def test_keys_are_fetched_once_and_cached_for_the_ttl(make_harness):
    harness = make_harness(ttl=600)
    for _ in range(100):
        assert harness.finds()
        harness.clock.pass_(4)
        harness.tick()

    assert harness.fetches == 1


def test_refresh_begins_at_four_fifths_of_the_ttl(make_harness):
    harness = make_harness(ttl=600)
    harness.tick()
    harness.clock.pass_(479)
    harness.tick()
    assert harness.fetches == 1

    harness.clock.pass_(2)
    harness.tick()
    assert harness.fetches == 2


def test_refresh_has_a_jitter_of_a_tenth():
    def due(spread):
        keys = RemoteKeySet("x", None, frozenset(), Policy(ttl=600), threading.BoundedSemaphore(1), Clock(0), spread)
        keys._schedule.succeeded(0, 600)
        return keys.until_due()

    assert (due(lambda low, high: low), due(lambda low, high: high)) == pytest.approx((432, 528))


@pytest.mark.parametrize(("ttl", "max_age", "fresh"), [(600, 60, 60), (600, 5, 30), (600, 9000, 600), (10, 5, 10)])
def test_max_age_shortens_the_ttl_to_half_a_minute_at_least(make_harness, ttl, max_age, fresh):
    harness = make_harness(ttl=ttl)
    harness.issuer.headers = {"Cache-Control": f"max-age={max_age}"}
    harness.tick()

    assert harness.keys.cached().fresh_until - harness.clock.now == fresh


def test_cached_keys_are_found_without_the_network(make_harness):
    harness = make_harness(ttl=600)
    harness.tick()
    release = threading.Event()
    harness.issuer.behave = lambda handler: release.wait(10)
    harness.clock.pass_(700)  # stale
    harness.keys.refresh_if_due()

    began = time.perf_counter()
    for _ in range(1000):
        assert harness.finds()
    seconds = time.perf_counter() - began
    release.set()

    assert seconds < 5


def test_stale_keys_are_used_until_max_stale_while_the_issuer_fails(make_harness):
    harness = make_harness(ttl=600, max_stale=3600)
    harness.tick()
    harness.fail()
    harness.clock.pass_(4199)
    harness.tick()
    assert harness.finds()

    harness.clock.pass_(2)
    assert unavailable(harness.finds) >= 1


def test_expired_keys_are_fetched_by_the_next_request(make_harness):
    harness = make_harness(ttl=10, max_stale=0)
    harness.tick()
    harness.clock.pass_(11)

    assert harness.finds()
    assert harness.fetches == 2


@pytest.mark.parametrize(
    "response",
    [
        (500, b""),
        (200, b""),
        (200, b"<html></html>"),
        (200, b"[]"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'),
        (200, b" " * 300_000),
        (302, b""),
    ],
)
def test_unusable_response_does_not_replace_cached_keys(make_harness, response):
    harness = make_harness(ttl=600)
    harness.tick()
    harness.issuer.behave = lambda handler: send(handler, *response)
    harness.clock.pass_(500)
    harness.tick()

    assert harness.fetches == 2 and harness.keys.failing()
    assert harness.finds()


def test_withdrawn_key_is_not_found_after_the_next_refresh(make_harness):
    harness = make_harness(ttl=600)
    harness.tick()
    generation = harness.keys.cached().generation
    harness.issuer.keys = [Key(ES256, "two")]
    harness.clock.pass_(500)
    harness.tick()

    assert not harness.finds("one") and harness.finds("two")
    assert harness.keys.cached().generation == generation + 1


def test_unchanged_key_set_keeps_its_generation_and_is_fresh_again(make_harness):
    harness = make_harness(ttl=600)
    harness.tick()
    before = harness.keys.cached()
    harness.clock.pass_(500)
    harness.tick()

    assert harness.keys.cached().generation == before.generation
    assert harness.keys.cached().fresh_until == before.fresh_until + 500


def test_rotation_behind_an_unchanged_etag_is_found(make_harness):
    harness = make_harness(ttl=600)
    harness.issuer.headers = {"ETag": '"v1"'}
    harness.tick()
    harness.issuer.keys = [Key(ES256, "two")]
    harness.clock.pass_(500)
    harness.tick()

    assert harness.finds("two") and not any("If-None-Match" in headers for _, headers in harness.issuer.requests)
    harness.fail(304)
    harness.clock.pass_(500)
    harness.tick()
    assert harness.keys.failing() and harness.keys.failure().cause.value == "status"


# -- unknown keys -----------------------------------------------------------------------------------------------------


def test_rotation_is_transparent_to_callers(make_harness):
    harness = make_harness()
    harness.tick()
    harness.issuer.keys = [Key(ES256, "two")]

    assert harness.finds("two")
    assert harness.fetches == 2


def test_unknown_keys_cause_two_fetches_in_a_window_and_are_then_unavailable(make_harness):
    harness = make_harness(cooldown=30)
    harness.tick()
    assert not harness.finds("unknown-0") and not harness.finds("unknown-1")
    harness.clock.pass_(12.5)
    for n in range(50):
        assert unavailable(lambda n=n: harness.finds(f"unknown-{n}")) == 18

    assert harness.fetches == 3  # the first, and two
    assert harness.finds("one")


def test_failed_fetches_count_in_the_window(make_harness):
    harness = make_harness(cooldown=30)
    harness.tick()
    harness.fail()
    for n in range(50):
        assert 1 <= unavailable(lambda n=n: harness.finds(f"unknown-{n}")) <= 30

    assert len([path for path, _ in harness.issuer.requests]) == 3
    assert harness.finds("one")


def test_unknown_key_starts_no_back_off_while_cached_keys_are_fresh(make_harness):
    harness = make_harness(ttl=600, cooldown=30)
    harness.tick()
    harness.fail()
    unavailable(lambda: harness.finds("unknown"))
    for _ in range(20):
        harness.clock.pass_(1)
        harness.tick()

    assert harness.fetches == 2


def test_fetch_that_the_window_did_not_allow_is_made_at_its_end(make_harness):
    harness = make_harness(cooldown=30)
    harness.tick()
    for n in range(2):
        harness.finds(f"unknown-{n}")
    harness.issuer.keys = [Key(ES256, "two")]
    harness.clock.pass_(29)
    harness.tick()
    assert unavailable(lambda: harness.finds("two")) == 1
    assert harness.keys.until_due() == 1

    harness.clock.pass_(1)
    harness.tick()
    assert harness.fetches == 4
    assert harness.finds("two")


def test_window_slides_and_the_fetch_at_its_end_counts_in_the_next(make_harness):
    harness = make_harness(ttl=86400, cooldown=10)
    harness.tick()
    began = harness.clock.now
    times = []
    for n in range(400):
        before = harness.fetches
        try:
            harness.finds(f"unknown-{n}")
        except KeysUnavailable as error:
            retry_at = harness.clock.now + error.retry_after
        harness.tick()
        times += [harness.clock.now - began] * (harness.fetches - before)
        harness.clock.pass_(0.25)

    assert len(times) == 20 and retry_at > harness.clock.now - 1
    assert all(later - sooner >= 10 for sooner, later in zip(times, times[2:], strict=False))


def test_known_kid_that_does_not_fit_is_unknown_after_a_fetch_and_never_unavailable(make_harness):
    harness = make_harness()
    harness.issuer.keys = [Key(ES256, "one"), Key("RS256", "weak", bits=1024)]
    harness.tick()

    for _ in range(3):
        assert harness.keys.find("one", "RS256") == ()
        assert harness.keys.find("weak", "RS256") == ()
    assert harness.fetches == 3
    harness.fail()
    harness.clock.pass_(11)
    assert harness.keys.find("weak", "RS256") == ()


# -- replaced keys, and several that fit ------------------------------------------------------------------------------


@pytest.mark.parametrize("kid", ["one", None])
def test_key_replaced_under_its_kid_is_found(make_harness, kid):
    harness = make_harness()
    harness.issuer.keys = [Key(ES256, kid)]
    harness.tick()
    (old,) = harness.keys.find(kid, ES256)
    replaced = harness.issuer.keys = [Key(ES256, kid)]
    (new,) = harness.keys.find(kid, ES256, tried=(old,))

    assert new.verify(b"x", replaced[0].sign(b"x")) and harness.fetches == 2
    assert harness.keys.find(kid, ES256) == (new,) and harness.keys.find(kid, ES256, tried=(old,)) == (new,)
    assert harness.fetches == 2


@pytest.mark.parametrize("is_down", [False, True])
def test_bad_signatures_cause_two_fetches_in_a_window_and_no_key_is_found(make_harness, is_down):
    harness = make_harness(cooldown=10)
    harness.tick()
    tried = harness.keys.find("one", ES256)
    if is_down:
        harness.fail()
    for _ in range(20):
        assert harness.keys.find("one", ES256, tried) == ()
    assert harness.fetches == 3

    harness.recover()
    harness.clock.pass_(10)
    harness.tick()
    assert harness.fetches == 4 and harness.finds()


def test_both_floods_share_the_fetches_of_a_window(make_harness):
    harness = make_harness(cooldown=10)
    harness.tick()
    tried = harness.keys.find("one", ES256)
    for n in range(20):
        harness.keys.find("one", ES256, tried)
        with contextlib.suppress(KeysUnavailable):
            harness.finds(f"unknown-{n}")
    assert harness.fetches == 3


def test_bad_signature_waits_for_no_place_among_waiting_callers(make_harness):
    harness = make_harness(waiters=1)
    harness.tick()
    tried, release = harness.keys.find("one", ES256), threading.Event()
    harness.issuer.behave = lambda handler: hang_up(handler, release)
    waiting = threading.Thread(target=lambda: harness.keys.find("one", ES256, tried))
    waiting.start()
    poll(lambda: harness.waiting() == 1)

    assert harness.keys.find("one", ES256, tried) == ()
    assert waiting.is_alive()
    release.set()
    waiting.join()


def test_four_of_the_keys_that_fit_are_tried_and_more_are_logged_once(make_harness, caplog):
    harness = make_harness()
    harness.issuer.keys = [Key(ES256, "same") for _ in range(5)]
    harness.tick()
    first = [key for key in harness.issuer.keys[:4]]
    for _ in range(3):
        found = harness.keys.find("same", ES256)
    assert [each.verify(b"x", key.sign(b"x")) for each, key in zip(found, first, strict=True)] == [True] * 4
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"jwks_many_keys_fit issuer={harness.issuer.name} kid=same alg=ES256 fitting=5 tried=4"


# -- outages ----------------------------------------------------------------------------------------------------------


def test_outage_without_keys_fails_at_once_and_backs_off(make_harness):
    harness = make_harness()
    harness.fail()
    began = harness.clock.now
    unavailable(harness.finds)
    times = [0.0]
    while len(times) < 6:
        harness.clock.pass_(0.05)
        before = harness.fetches
        harness.tick()
        assert unavailable(harness.finds) <= 4
        if harness.fetches > before:
            times.append(harness.clock.now - began)

    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert pauses == pytest.approx([0.9, 1.8, 3.6, 3.6, 3.6], abs=0.11)


@pytest.mark.parametrize("status", [404, 403, 500])
def test_back_off_grows_to_a_minute_while_keys_are_cached(make_harness, status):
    harness = make_harness(ttl=600, max_stale=36000)
    harness.tick()
    harness.fail(status)
    harness.clock.pass_(480)
    pauses = []
    for _ in range(9):
        harness.tick()
        pauses.append(harness.keys.until_due())
        harness.clock.pass_(pauses[-1])

    assert pauses == pytest.approx([0.9 * each for each in (1, 2, 4, 8, 16, 32, 60, 60, 60)])


def test_long_back_off_ends_when_the_cached_keys_expire(make_harness):
    harness = make_harness(ttl=600, max_stale=100)
    harness.tick()
    harness.fail()
    harness.clock.pass_(480)
    while harness.keys.cached():
        harness.tick()
        harness.clock.pass_(max(0.001, harness.keys.until_due()))
    assert harness.clock.now - harness.keys._cached.usable_until <= 4
    harness.recover()
    harness.tick()
    assert harness.finds()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("is_date", [False, True])
def test_retry_after_of_the_issuer_delays_every_fetch(make_harness, status, is_date):
    harness = make_harness(ttl=600)
    harness.tick()
    value = formatdate(time.time() + 60, usegmt=True) if is_date else "60"
    harness.issuer.behave = lambda handler: send(handler, status, b"", {"Retry-After": value})
    harness.clock.pass_(480)
    harness.tick()
    assert harness.keys.until_due() == pytest.approx(60, abs=1.5)
    assert unavailable(lambda: harness.finds("unknown")) == pytest.approx(60, abs=1.5)
    harness.clock.pass_(58)
    harness.tick()
    assert harness.fetches == 2

    harness.recover()
    harness.clock.pass_(3)
    harness.tick()
    assert harness.fetches == 3 and not harness.keys.failing()


def test_retry_after_is_honoured_without_keys_and_up_to_max_stale(make_harness):
    harness = make_harness(max_stale=100)
    harness.issuer.behave = lambda handler: send(handler, 429, b"", {"Retry-After": "99999"})
    harness.tick()

    assert unavailable(harness.finds) == harness.keys.until_due() == 100
    assert "it asks to wait for 99999 s" in str(harness.keys.failure())


@pytest.mark.parametrize("value", ["", "soon", "-5", "0", "1e9", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_useless_retry_after_means_back_off(make_harness, value):
    harness = make_harness()
    harness.issuer.behave = lambda handler: send(handler, 429, b"", {"Retry-After": value})
    harness.tick()

    assert harness.keys.until_due() == pytest.approx(0.9)


def test_first_success_ends_the_back_off(make_harness):
    harness = make_harness(ttl=600)
    harness.fail()
    for _ in range(5):
        harness.tick()
        harness.clock.pass_(5)
    harness.recover()
    harness.tick()
    assert harness.finds() and not harness.keys.failing()

    harness.fail()
    harness.clock.pass_(480)
    harness.tick()
    assert harness.keys.until_due() == pytest.approx(0.9)


def test_keys_are_found_within_ten_seconds_of_the_end_of_an_outage(make_harness):
    harness = make_harness(ttl=10, max_stale=0)
    harness.fail()
    for _ in range(100):
        harness.clock.pass_(1)
        harness.tick()
    harness.recover()
    for _ in range(10):
        harness.clock.pass_(1)
        harness.tick()

    assert harness.finds()


def test_fetch_that_hangs_past_its_deadline_counts_as_failed(make_harness):
    harness = make_harness(timeout=2)
    release = threading.Event()
    harness.keys._fetch = lambda wanted: release.wait(10)  # what a resolver that hangs does: no deadline reaches it
    harness.keys.refresh_if_due()
    first = harness.keys._in_flight
    assert harness.keys.until_due() == 3
    harness.clock.pass_(3)
    harness.keys.refresh_if_due()
    release.set()

    assert first.succeeded.result(5) is False
    assert harness.keys.failing() and harness.keys.cached() is None


def test_unhandled_exception_in_a_fetch_is_logged(make_harness, caplog):
    harness = make_harness()
    harness.keys._fetch = lambda wanted: 1 / 0
    unavailable(harness.finds)

    assert "ZeroDivisionError" in caplog.text


# -- concurrency ------------------------------------------------------------------------------------------------------


def at_once(count, look_up):
    barrier = threading.Barrier(count)

    def run(n):
        barrier.wait(10)
        return look_up(n)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def respond_when_joined(harness, count):
    """Let the issuer respond when `count` threads wait for its fetch."""

    def behave(handler):
        poll(lambda: harness.waiting() == count)
        send(handler, 200, json.dumps(harness.issuer.key_set()).encode())

    harness.issuer.behave = behave


def test_threads_share_one_fetch_without_cached_keys(make_harness):
    harness = make_harness(waiters=64)
    respond_when_joined(harness, 64)

    assert at_once(64, lambda n: harness.finds()) == [True] * 64
    assert harness.fetches == 1


def test_threads_share_one_fetch_at_a_rotation(make_harness):
    harness = make_harness(waiters=64)
    harness.tick()
    harness.issuer.keys = [Key(ES256, "two")]
    respond_when_joined(harness, 64)

    assert at_once(64, lambda n: harness.finds("two")) == [True] * 64
    assert harness.fetches == 2


def test_callers_beyond_the_concurrency_limit_fail_at_once(make_harness):
    harness = make_harness(waiters=4)
    release = threading.Event()
    harness.issuer.behave = lambda handler: hang_up(handler, release)
    failed = []

    def look_up(n):
        with pytest.raises(KeysUnavailable):
            harness.finds()
        failed.append(n)

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(look_up, n) for n in range(16)]
        poll(lambda: len(failed) == 12)  # the fetch is still in flight
        assert harness.waiting() == 4 and not any(each.exception() for each in futures if each.done())
        release.set()

    assert len(failed) == 16 and harness.fetches >= 1


def test_waiting_callers_free_their_places(make_harness):
    harness = make_harness(waiters=1, ttl=600, cooldown=0)
    for n in range(3):
        assert harness.finds() and not harness.finds(f"unknown-{n}")


def test_known_key_is_found_while_a_fetch_hangs(make_harness):
    harness = make_harness(waiters=4)
    harness.tick()
    release = threading.Event()
    harness.issuer.behave = lambda handler: hang_up(handler, release)
    waiting = threading.Thread(target=lambda: unavailable(lambda: harness.finds("unknown")))
    waiting.start()
    poll(lambda: harness.keys._in_flight)

    began = time.perf_counter()
    for _ in range(1000):
        assert harness.finds()
    each = (time.perf_counter() - began) / 1000
    release.set()
    waiting.join()

    assert each < 0.005


# -- the log ----------------------------------------------------------------------------------------------------------


def test_each_transition_is_logged_once(make_harness, caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.jwks")
    harness = make_harness(ttl=600, max_stale=600, cooldown=30)
    harness.issuer.keys.append(Key("RS256", "weak\n\x1b[31m", bits=1024))
    harness.tick()
    harness.issuer.keys = [Key(ES256, "two")]
    harness.clock.pass_(500)
    harness.tick()
    for n in range(9):
        with contextlib.suppress(KeysUnavailable):
            harness.finds(f"unknown-{n}")
    harness.fail()
    for _ in range(500):
        harness.clock.pass_(3)
        harness.tick()
    harness.recover()
    harness.clock.pass_(5)
    harness.tick()

    ours = [
        record.getMessage()
        for record in caplog.records
        if f"issuer={harness.issuer.name} " in record.getMessage() + " "
    ]
    events = [line.split()[0] for line in ours]
    assert events == [
        "jwks_first_keys",
        "jwks_key_skipped",
        "jwks_rotated",
        "jwks_cooldown",
        "jwks_outage_begins",
        "jwks_serving_stale",
        "jwks_keys_expired",
        "jwks_outage_over",
    ]
    assert "\x1b" not in caplog.text and "weak\n" not in caplog.text
    (began,) = [line for line in ours if line.startswith("jwks_outage_begins")]
    why = f"{harness.issuer.jwks_url}: status 500, not 200: the server of the issuer has a fault"
    assert f"cause=status why='{why}'" in began


def test_another_cause_of_an_outage_is_logged(make_harness, caplog):
    harness = make_harness()
    for status in (500, 500, 404):
        harness.fail(status)
        harness.tick()
        harness.clock.pass_(5)
    harness.issuer.behave = lambda handler: send(handler, 200, b"<html>")
    harness.tick()

    events = [(record.msg.name, record.msg.fields["cause"]) for record in caplog.records]
    assert events == [("jwks_outage_begins", "status"), ("jwks_outage_changes", "not_json")]


def test_key_set_of_junk_writes_a_limited_number_of_lines(make_harness, caplog):
    harness = make_harness(ttl=600)
    for turn in range(3):
        harness.issuer.document = {
            "keys": [Key(ES256, "one").jwk(), *({"kty": "oct", "kid": f"{turn}-{n}"} for n in range(127))]
        }
        harness.tick()
        harness.clock.pass_(500)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]

    assert len(lines) == 3 * 9 and lines[8] == f"jwks_keys_skipped issuer={harness.issuer.name} more=119"


def test_only_key_that_is_unusable_is_logged_with_its_reason(make_harness, caplog):
    harness = make_harness()
    harness.issuer.keys = [Key("RS256", "weak", bits=1024)]
    harness.tick()

    (line,) = [record.getMessage() for record in caplog.records]
    assert "cause=no_usable_key" in line and "'weak': its n has 1024 bits; RSA keys need 2048 or more" in line


def test_readiness_logs_each_change_with_the_cause(make_harness, caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.jwks")
    harness = make_harness(ttl=10, max_stale=10)
    sets = KeySets([harness.keys])
    assert [sets.readiness() for _ in range(2)] == ["unavailable"] * 2  # no fetch has ended: nothing to log
    harness.fail(404)
    harness.tick()
    sets.readiness(), sets.readiness()
    harness.recover()
    harness.clock.pass_(5)
    harness.tick()
    sets.readiness(), sets.readiness()

    lines = [record.msg for record in caplog.records if record.msg.name == "jwks_readiness"]
    assert [(line.fields["status"], line.fields.get("why", "")[:80]) for line in lines] == [
        ("unavailable", f"{harness.issuer.jwks_url}: status 404, not 200: check JWKS_URL"[:80]),
        ("ok", ""),
    ]


# -- all issuers ------------------------------------------------------------------------------------------------------


def test_readiness_depends_on_all_issuers(make_harness):
    first, second = make_harness(ttl=10, max_stale=10), make_harness(ttl=10, max_stale=10)
    both = KeySets([first.keys, second.keys])
    assert both.readiness() == "unavailable"
    first.tick()
    assert both.readiness() == "degraded"
    second.tick()
    assert both.readiness() == "ok"

    first.fail()
    first.clock.pass_(9)
    first.tick()
    assert both.readiness() == "degraded"
    first.clock.pass_(12)
    second.clock.pass_(21)
    assert both.readiness() == "unavailable"


FORK = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from zuplo_origin.jwks.fetch import Document
from zuplo_origin.jwks import client
from zuplo_origin.jwks.client import Policy, RemoteKeySet
from zuplo_origin.jwks.key_sets import KeySets

client.FORK_WAIT = 20.0  # a loaded machine takes longer than a second for the import

def fetch(wanted):
    import imported_late
    return Document(imported_late.BODY)

keys = RemoteKeySet("x", fetch, frozenset(["ES256"]), Policy(timeout=20), threading.BoundedSemaphore(8))
key_sets = KeySets([keys])
key_sets.start()
while "imported_late" not in sys.modules:
    time.sleep(0.001)
child = os.fork()
try:
    found = bool(keys.find("one", "ES256"))
except Exception:
    found = False
if child == 0:
    os._exit(0 if found else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or (0 if found else 1))
"""


def test_parent_and_child_can_fetch_after_a_fork_during_a_fetch(tmp_path):
    body = json.dumps({"keys": [Key(ES256, "one").jwk()]})
    (tmp_path / "imported_late.py").write_text(f"import time\ntime.sleep(0.2)\nBODY = {body.encode()!r}\n")
    ended = subprocess.run([sys.executable, "-c", FORK, str(tmp_path)], cwd=ROOT, timeout=60)

    assert ended.returncode == 0


def test_background_thread_fetches_without_a_request_and_survives_errors(make_harness, caplog, monkeypatch):
    harness = make_harness()
    sets = KeySets([harness.keys])
    broken = threading.Event()
    original = harness.keys.refresh_if_due

    def break_once():
        if not broken.is_set():
            broken.set()
            raise RuntimeError("once")
        original()

    monkeypatch.setattr(harness.keys, "refresh_if_due", break_once)
    sets.start()
    poll(harness.keys.cached)

    assert harness.finds() and harness.fetches == 1
    assert "jwks_refresh_error" in caplog.text


def test_closed_port_makes_keys_unavailable(make_harness):
    harness = make_harness()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/jwks"
        harness.keys._fetch = Source(harness.issuer.name, url, 2, 262144).fetch
        harness.tick()

    assert harness.keys.failing() and unavailable(harness.finds) >= 1
