"""When keys are fetched, who waits for it, and what is held meanwhile: against a real issuer, by a clock of our own."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from package_tests.support.clock import Clock
from package_tests.support.issuer import send
from package_tests.support.key_sets import ES256, KeySetHarness
from package_tests.support.servers import ROOT
from package_tests.support.signing import Key
from zuplo_origin.jwks.client import KeySets, KeysUnavailable, Policy, RemoteKeySet
from zuplo_origin.jwks.fetch import Source


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
    """Say nothing until `release`, and then no more."""
    release.wait(30)
    handler.close_connection = True


def unavailable(look_up):
    with pytest.raises(KeysUnavailable) as caught:
        look_up()
    return caught.value.retry_after


# -- fresh, stale, gone -----------------------------------------------------------------------------------------------


def test_keys_are_fetched_once_and_held_for_the_ttl(make_harness):
    harness = make_harness(ttl=600)
    for _ in range(100):
        assert harness.finds()
        harness.clock.pass_(4)
        harness.tick()

    assert harness.fetches == 1


def test_a_refresh_begins_at_four_fifths_of_the_ttl(make_harness):
    harness = make_harness(ttl=600)
    harness.tick()
    harness.clock.pass_(479)
    harness.tick()
    assert harness.fetches == 1

    harness.clock.pass_(2)
    harness.tick()
    assert harness.fetches == 2


def test_a_fleet_does_not_refresh_in_step():
    def due(spread):
        keys = RemoteKeySet("x", None, frozenset(), Policy(ttl=600), threading.BoundedSemaphore(1), Clock(0), spread)
        keys._schedule.succeeded(0, 600)
        return keys.until_due()

    assert (due(lambda low, high: low), due(lambda low, high: high)) == pytest.approx((432, 528))


@pytest.mark.parametrize(("ttl", "max_age", "fresh"), [(600, 60, 60), (600, 5, 30), (600, 9000, 600), (10, 5, 10)])
def test_a_shorter_max_age_wins_but_never_below_half_a_minute_or_the_ttl(make_harness, ttl, max_age, fresh):
    harness = make_harness(ttl=ttl)
    harness.issuer.headers = {"Cache-Control": f"max-age={max_age}"}
    harness.tick()

    assert harness.keys.cached().fresh_until - harness.clock.now == fresh


def test_no_request_waits_for_the_network_while_keys_are_held(make_harness):
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


def test_held_keys_serve_past_the_ttl_while_the_issuer_fails_and_then_no_more(make_harness):
    harness = make_harness(ttl=600, max_stale=3600)
    harness.tick()
    harness.fail()
    harness.clock.pass_(4199)
    harness.tick()
    assert harness.finds()

    harness.clock.pass_(2)
    assert unavailable(harness.finds) >= 1


def test_keys_that_are_too_old_are_fetched_anew_by_whoever_asks(make_harness):
    harness = make_harness(ttl=10, max_stale=0)
    harness.tick()
    harness.clock.pass_(11)

    assert harness.finds()
    assert harness.fetches == 2


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (200, b""),
        (200, b"<html></html>"),
        (200, b"[]"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'),
        (200, b" " * 70_000),
        (302, b""),
    ],
)
def test_a_worse_answer_never_replaces_held_keys(make_harness, answer):
    harness = make_harness(ttl=600)
    harness.tick()
    harness.issuer.behave = lambda handler: send(handler, *answer)
    harness.clock.pass_(500)
    harness.tick()

    assert harness.fetches == 2 and harness.keys.failing()
    assert harness.finds()


def test_a_withdrawn_key_is_gone_with_the_next_refresh(make_harness):
    harness = make_harness(ttl=600)
    harness.tick()
    generation = harness.keys.cached().generation
    harness.issuer.keys = [Key(ES256, "two")]
    harness.clock.pass_(500)
    harness.tick()

    assert not harness.finds("one") and harness.finds("two")
    assert harness.keys.cached().generation == generation + 1


def test_an_unchanged_set_keeps_its_generation_and_is_fresh_again(make_harness):
    harness = make_harness(ttl=600)
    harness.issuer.headers = {"ETag": '"v1"'}
    harness.tick()
    held = harness.keys.cached()
    harness.issuer.behave = lambda handler: send(handler, 304, b"")
    harness.clock.pass_(500)
    harness.tick()

    assert harness.issuer.requests[-1][1]["If-None-Match"] == '"v1"'
    assert harness.keys.cached().generation == held.generation
    assert harness.keys.cached().fresh_until == held.fresh_until + 500


# -- unknown key ids --------------------------------------------------------------------------------------------------


def test_a_rotation_is_not_noticed(make_harness):
    harness = make_harness()
    harness.tick()
    harness.issuer.keys = [Key(ES256, "two")]

    assert harness.finds("two")
    assert harness.fetches == 2


def test_unknown_ids_cause_two_fetches_in_a_window_at_the_most(make_harness):
    harness = make_harness(cooldown=30)
    harness.tick()
    for n in range(50):
        assert not harness.finds(f"stranger-{n}")

    assert harness.fetches == 3  # the first, and two


def test_failed_fetches_count_against_the_window_too(make_harness):
    harness = make_harness(cooldown=30)
    harness.tick()
    harness.fail()
    for n in range(50):
        assert 1 <= unavailable(lambda n=n: harness.finds(f"stranger-{n}")) <= 30

    assert len([path for path, _ in harness.issuer.requests]) == 3
    assert harness.finds("one")


def test_strangers_start_no_back_off_while_held_keys_are_fresh(make_harness):
    harness = make_harness(ttl=600, cooldown=30)
    harness.tick()
    harness.fail()
    unavailable(lambda: harness.finds("stranger"))
    for _ in range(20):
        harness.clock.pass_(1)
        harness.tick()

    assert harness.fetches == 2


def test_where_the_window_is_spent_one_more_fetch_is_made_at_its_end(make_harness):
    harness = make_harness(cooldown=30)
    harness.tick()
    for n in range(3):
        harness.finds(f"stranger-{n}")
    harness.issuer.keys = [Key(ES256, "two")]
    harness.clock.pass_(29)
    harness.tick()
    assert not harness.finds("two")

    harness.clock.pass_(1)
    harness.tick()
    assert harness.fetches == 4
    assert harness.finds("two")


def test_a_flood_causes_two_fetches_a_window_however_long_it_lasts(make_harness):
    harness = make_harness(ttl=86400, cooldown=30)
    harness.tick()
    for n in range(600):
        harness.finds(f"stranger-{n}")
        harness.tick()
        harness.clock.pass_(0.5)

    assert 20 <= harness.fetches - 1 <= 2 * 300 / 30 + 2


def test_an_id_that_is_known_but_does_not_fit_causes_no_fetch(make_harness):
    harness = make_harness()
    harness.issuer.keys = [Key(ES256, "one"), Key("RS256", "weak", bits=1024), Key(ES256, "twin"), Key(ES256, "twin")]
    harness.tick()

    assert harness.keys.find("one", "RS256") is None
    assert harness.keys.find("weak", "RS256") is None
    assert harness.keys.find("twin", ES256) is None
    assert harness.keys.find(None, ES256) is None
    assert harness.fetches == 1


# -- outages ----------------------------------------------------------------------------------------------------------


def test_without_keys_an_outage_is_told_at_once_and_tried_again_with_growing_pauses(make_harness):
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


def test_the_first_success_ends_the_back_off(make_harness):
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


def test_keys_are_found_again_within_ten_seconds_of_the_issuers_return(make_harness):
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


def test_a_fetch_that_is_lost_is_given_up(make_harness):
    harness = make_harness(timeout=2)
    release = threading.Event()
    harness.keys._fetch = lambda etag, wanted: release.wait(
        10
    )  # what a resolver that hangs does: no deadline reaches it
    harness.keys.refresh_if_due()
    first = harness.keys._in_flight
    assert harness.keys.until_due() == 3
    harness.clock.pass_(3)
    harness.keys.refresh_if_due()
    release.set()

    assert first.succeeded.result(5) is False
    assert harness.keys.failing() and harness.keys.cached() is None


def test_an_error_of_our_own_in_a_fetch_ends_in_the_log(make_harness, caplog):
    harness = make_harness()
    harness.keys._fetch = lambda etag, wanted: 1 / 0
    unavailable(harness.finds)

    assert "ZeroDivisionError" in caplog.text


# -- many at once -----------------------------------------------------------------------------------------------------


def at_once(count, look_up):
    barrier = threading.Barrier(count)

    def run(n):
        barrier.wait(10)
        return look_up(n)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def slowly(harness, seconds=0.3):
    def behave(handler):
        time.sleep(seconds)
        harness.issuer.respond(handler)

    harness.issuer.behave = behave


def test_64_threads_share_one_fetch_at_a_cold_start(make_harness):
    harness = make_harness(waiters=64)
    slowly(harness)

    assert at_once(64, lambda n: harness.finds()) == [True] * 64
    assert harness.fetches == 1


def test_64_threads_share_one_fetch_at_a_rotation(make_harness):
    harness = make_harness(waiters=64)
    harness.tick()
    harness.issuer.keys = [Key(ES256, "two")]
    slowly(harness)

    assert at_once(64, lambda n: harness.finds("two")) == [True] * 64
    assert harness.fetches == 2


def test_those_beyond_the_seats_are_told_at_once(make_harness):
    harness = make_harness(waiters=4)
    release = threading.Event()
    harness.issuer.behave = lambda handler: hang_up(handler, release)
    waited = []

    def look_up(n):
        began = time.perf_counter()
        with pytest.raises(KeysUnavailable):
            harness.finds()
        waited.append(time.perf_counter() - began)
        if len(waited) == 12:
            release.set()

    at_once(16, look_up)

    assert sum(seconds < 5 for seconds in waited) >= 12
    assert max(waited) < 15


def test_a_known_key_is_found_while_a_fetch_hangs(make_harness):
    harness = make_harness(waiters=4)
    harness.tick()
    release = threading.Event()
    harness.issuer.behave = lambda handler: hang_up(handler, release)
    waiting = threading.Thread(target=lambda: unavailable(lambda: harness.finds("stranger")))
    waiting.start()
    while harness.keys._in_flight is None:
        time.sleep(0.001)

    began = time.perf_counter()
    for _ in range(1000):
        assert harness.finds()
    each = (time.perf_counter() - began) / 1000
    release.set()
    waiting.join()

    assert each < 0.005


# -- what is told -----------------------------------------------------------------------------------------------------


def test_every_transition_is_told_once(make_harness, caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.jwks")
    harness = make_harness(ttl=600, max_stale=600, cooldown=30)
    harness.issuer.keys.append(Key("RS256", "weak\n\x1b[31m", bits=1024))
    harness.tick()
    harness.issuer.keys = [Key(ES256, "two")]
    harness.clock.pass_(500)
    harness.tick()
    for n in range(9):
        harness.finds(f"stranger-{n}")
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


# -- all issuers ------------------------------------------------------------------------------------------------------


def test_readiness(make_harness):
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
from zuplo_origin.jwks.client import KeySets, Policy, RemoteKeySet

def fetch(etag, wanted):
    import imported_late
    return Document(imported_late.BODY)

keys = RemoteKeySet("x", fetch, frozenset(["ES256"]), Policy(timeout=3), threading.BoundedSemaphore(8))
key_sets = KeySets([keys])
key_sets.start()
time.sleep(0.1)
child = os.fork()
try:
    found = keys.find("one", "ES256") is not None
except Exception:
    found = False
if child == 0:
    os._exit(0 if found else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or (0 if found else 1))
"""


def test_a_fork_in_the_middle_of_the_first_fetch_leaves_both_processes_able_to_fetch(tmp_path):
    body = json.dumps({"keys": [Key(ES256, "one").jwk()]})
    (tmp_path / "imported_late.py").write_text(f"import time\ntime.sleep(0.5)\nBODY = {body.encode()!r}\n")
    ended = subprocess.run([sys.executable, "-c", FORK, str(tmp_path)], cwd=ROOT, timeout=60)

    assert ended.returncode == 0


def test_the_background_thread_fetches_before_anyone_asks_and_outlives_errors(make_harness, caplog):
    harness = make_harness()
    sets = KeySets([harness.keys])
    broken = threading.Event()
    original = harness.keys.refresh_if_due

    def break_once():
        if not broken.is_set():
            broken.set()
            raise RuntimeError("once")
        original()

    harness.keys.refresh_if_due = break_once
    sets.start()
    end = time.monotonic() + 10
    while harness.keys.cached() is None and time.monotonic() < end:
        time.sleep(0.01)

    assert harness.finds() and harness.fetches == 1
    assert "jwks_refresh_error" in caplog.text


def test_a_refused_connection_at_the_start_is_no_crash(make_harness):
    harness = make_harness()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/jwks"
        harness.keys._fetch = Source(harness.issuer.name, url, 2, 65536).fetch
        harness.tick()

    assert harness.keys.failing() and unavailable(harness.finds) >= 1
