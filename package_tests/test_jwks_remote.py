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
from package_tests.support.issuer import Issuer, send
from package_tests.support.servers import ROOT
from package_tests.support.signing import Key
from zuplo_origin.jwks.client import KeySets, KeysUnavailable, Policy, RemoteKeySet, WaitingRoom
from zuplo_origin.jwks.fetch import Source
from zuplo_origin.jwks.keys import ALGORITHMS

ES256 = "ES256"


class World:
    """An issuer, a clock, and the key set under test."""

    def __init__(self, seats=64, **policy):
        self.issuer = Issuer([Key(ES256, "one")])
        self.clock = Clock()
        self.policy = Policy(**{"timeout": 20} | policy)
        source = Source(self.issuer.name, self.issuer.jwks_url, self.policy.timeout, 65536)
        self.keys = RemoteKeySet(
            self.issuer.name,
            source.fetch,
            frozenset(ALGORITHMS),
            self.policy,
            WaitingRoom(seats),
            self.clock,
            lambda low, high: (low + high) / 2,
        )

    def settle(self):
        """Wait for the fetch that is under way."""
        flight = self.keys._under_way
        if flight is not None:
            assert flight.wait(60)

    def tick(self):
        """What the background thread does when it looks around."""
        self.keys.refresh_if_due()
        self.settle()

    def finds(self, kid="one"):
        return self.keys.find(kid, ES256) is not None

    @property
    def fetches(self):
        return len(self.issuer.requests)

    def fail(self, status=500):
        self.issuer.behave = lambda handler: send(handler, status, b"")

    def recover(self):
        self.issuer.behave = None


@pytest.fixture
def world():
    made = []

    def make(**options):
        made.append(World(**options))
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


def test_keys_are_fetched_once_and_held_for_the_ttl(world):
    w = world(ttl=600)
    for _ in range(100):
        assert w.finds()
        w.clock.pass_(4)
        w.tick()

    assert w.fetches == 1


def test_a_refresh_begins_at_four_fifths_of_the_ttl(world):
    w = world(ttl=600)
    w.tick()
    w.clock.pass_(479)
    w.tick()
    assert w.fetches == 1

    w.clock.pass_(2)
    w.tick()
    assert w.fetches == 2


def test_a_fleet_does_not_refresh_in_step():
    def due(spread):
        keys = RemoteKeySet("x", None, frozenset(), Policy(ttl=600), WaitingRoom(1), Clock(0), spread)
        keys._schedule.succeeded(0, 600)
        return keys.until_due()

    assert (due(lambda low, high: low), due(lambda low, high: high)) == pytest.approx((432, 528))


@pytest.mark.parametrize(("ttl", "max_age", "fresh"), [(600, 60, 60), (600, 5, 30), (600, 9000, 600), (10, 5, 10)])
def test_a_shorter_max_age_wins_but_never_below_half_a_minute_or_the_ttl(world, ttl, max_age, fresh):
    w = world(ttl=ttl)
    w.issuer.headers = {"Cache-Control": f"max-age={max_age}"}
    w.tick()

    assert w.keys.held().fresh_until - w.clock.now == fresh


def test_no_request_waits_for_the_network_while_keys_are_held(world):
    w = world(ttl=600)
    w.tick()
    release = threading.Event()
    w.issuer.behave = lambda handler: release.wait(10)
    w.clock.pass_(700)  # stale
    w.keys.refresh_if_due()

    began = time.perf_counter()
    for _ in range(1000):
        assert w.finds()
    seconds = time.perf_counter() - began
    release.set()

    assert seconds < 5


def test_held_keys_serve_past_the_ttl_while_the_issuer_fails_and_then_no_more(world):
    w = world(ttl=600, max_stale=3600)
    w.tick()
    w.fail()
    w.clock.pass_(4199)
    w.tick()
    assert w.finds()

    w.clock.pass_(2)
    assert unavailable(w.finds) >= 1


def test_keys_that_are_too_old_are_fetched_anew_by_whoever_asks(world):
    w = world(ttl=10, max_stale=0)
    w.tick()
    w.clock.pass_(11)

    assert w.finds()
    assert w.fetches == 2


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
def test_a_worse_answer_never_replaces_held_keys(world, answer):
    w = world(ttl=600)
    w.tick()
    w.issuer.behave = lambda handler: send(handler, *answer)
    w.clock.pass_(500)
    w.tick()

    assert w.fetches == 2 and w.keys.failing()
    assert w.finds()


def test_a_withdrawn_key_is_gone_with_the_next_refresh(world):
    w = world(ttl=600)
    w.tick()
    generation = w.keys.held().generation
    w.issuer.keys = [Key(ES256, "two")]
    w.clock.pass_(500)
    w.tick()

    assert not w.finds("one") and w.finds("two")
    assert w.keys.held().generation == generation + 1


def test_an_unchanged_set_keeps_its_generation_and_is_fresh_again(world):
    w = world(ttl=600)
    w.issuer.headers = {"ETag": '"v1"'}
    w.tick()
    held = w.keys.held()
    w.issuer.behave = lambda handler: send(handler, 304, b"")
    w.clock.pass_(500)
    w.tick()

    assert w.issuer.requests[-1][1]["If-None-Match"] == '"v1"'
    assert w.keys.held().generation == held.generation
    assert w.keys.held().fresh_until == held.fresh_until + 500


# -- unknown key ids --------------------------------------------------------------------------------------------------


def test_a_rotation_is_not_noticed(world):
    w = world()
    w.tick()
    w.issuer.keys = [Key(ES256, "two")]

    assert w.finds("two")
    assert w.fetches == 2


def test_unknown_ids_cause_two_fetches_in_a_window_at_the_most(world):
    w = world(cooldown=30)
    w.tick()
    for n in range(50):
        assert not w.finds(f"stranger-{n}")

    assert w.fetches == 3  # the first, and two


def test_failed_fetches_count_against_the_window_too(world):
    w = world(cooldown=30)
    w.tick()
    w.fail()
    for n in range(50):
        assert 1 <= unavailable(lambda n=n: w.finds(f"stranger-{n}")) <= 30

    assert len([path for path, _ in w.issuer.requests]) == 3
    assert w.finds("one")


def test_strangers_start_no_back_off_while_held_keys_are_fresh(world):
    w = world(ttl=600, cooldown=30)
    w.tick()
    w.fail()
    unavailable(lambda: w.finds("stranger"))
    for _ in range(20):
        w.clock.pass_(1)
        w.tick()

    assert w.fetches == 2


def test_where_the_window_is_spent_one_more_fetch_is_made_at_its_end(world):
    w = world(cooldown=30)
    w.tick()
    for n in range(3):
        w.finds(f"stranger-{n}")
    w.issuer.keys = [Key(ES256, "two")]
    w.clock.pass_(29)
    w.tick()
    assert not w.finds("two")

    w.clock.pass_(1)
    w.tick()
    assert w.fetches == 4
    assert w.finds("two")


def test_a_flood_causes_two_fetches_a_window_however_long_it_lasts(world):
    w = world(ttl=86400, cooldown=30)
    w.tick()
    for n in range(600):
        w.finds(f"stranger-{n}")
        w.tick()
        w.clock.pass_(0.5)

    assert 20 <= w.fetches - 1 <= 2 * 300 / 30 + 2


def test_an_id_that_is_known_but_does_not_fit_causes_no_fetch(world):
    w = world()
    w.issuer.keys = [Key(ES256, "one"), Key("RS256", "weak", bits=1024), Key(ES256, "twin"), Key(ES256, "twin")]
    w.tick()

    assert w.keys.find("one", "RS256") is None
    assert w.keys.find("weak", "RS256") is None
    assert w.keys.find("twin", ES256) is None
    assert w.keys.find(None, ES256) is None
    assert w.fetches == 1


# -- outages ----------------------------------------------------------------------------------------------------------


def test_without_keys_an_outage_is_told_at_once_and_tried_again_with_growing_pauses(world):
    w = world()
    w.fail()
    began = w.clock.now
    unavailable(w.finds)
    times = [0.0]
    while len(times) < 6:
        w.clock.pass_(0.05)
        before = w.fetches
        w.tick()
        assert unavailable(w.finds) <= 4
        if w.fetches > before:
            times.append(w.clock.now - began)

    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert pauses == pytest.approx([0.9, 1.8, 3.6, 3.6, 3.6], abs=0.11)


def test_the_first_success_ends_the_back_off(world):
    w = world(ttl=600)
    w.fail()
    for _ in range(5):
        w.tick()
        w.clock.pass_(5)
    w.recover()
    w.tick()
    assert w.finds() and not w.keys.failing()

    w.fail()
    w.clock.pass_(480)
    w.tick()
    assert w.keys.until_due() == pytest.approx(0.9)


def test_keys_are_found_again_within_ten_seconds_of_the_issuers_return(world):
    w = world(ttl=10, max_stale=0)
    w.fail()
    for _ in range(100):
        w.clock.pass_(1)
        w.tick()
    w.recover()
    for _ in range(10):
        w.clock.pass_(1)
        w.tick()

    assert w.finds()


def test_a_fetch_that_is_lost_is_given_up(world):
    w = world(timeout=2)
    release = threading.Event()
    w.keys._fetch = lambda etag, answers: release.wait(10)  # what a resolver that hangs does: no deadline reaches it
    w.keys.refresh_if_due()
    first = w.keys._under_way
    assert w.keys.until_due() == 3
    w.clock.pass_(3)
    w.keys.refresh_if_due()
    release.set()

    assert first.wait(5) and first.failed
    assert w.keys.failing() and w.keys.held() is None


def test_an_error_of_our_own_in_a_fetch_ends_in_the_log(world, caplog):
    w = world()
    w.keys._fetch = lambda etag, answers: 1 / 0
    unavailable(w.finds)

    assert "ZeroDivisionError" in caplog.text


# -- many at once -----------------------------------------------------------------------------------------------------


def at_once(count, look_up):
    barrier = threading.Barrier(count)

    def run(n):
        barrier.wait(10)
        return look_up(n)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def slowly(w, seconds=0.3):
    def behave(handler):
        time.sleep(seconds)
        w.issuer.respond(handler)

    w.issuer.behave = behave


def test_64_threads_share_one_fetch_at_a_cold_start(world):
    w = world(seats=64)
    slowly(w)

    assert at_once(64, lambda n: w.finds()) == [True] * 64
    assert w.fetches == 1


def test_64_threads_share_one_fetch_at_a_rotation(world):
    w = world(seats=64)
    w.tick()
    w.issuer.keys = [Key(ES256, "two")]
    slowly(w)

    assert at_once(64, lambda n: w.finds("two")) == [True] * 64
    assert w.fetches == 2


def test_those_beyond_the_seats_are_told_at_once(world):
    w = world(seats=4)
    release = threading.Event()
    w.issuer.behave = lambda handler: hang_up(handler, release)
    waited = []

    def look_up(n):
        began = time.perf_counter()
        with pytest.raises(KeysUnavailable):
            w.finds()
        waited.append(time.perf_counter() - began)
        if len(waited) == 12:
            release.set()

    at_once(16, look_up)

    assert sum(seconds < 5 for seconds in waited) >= 12
    assert max(waited) < 15


def test_a_known_key_is_found_while_a_fetch_hangs(world):
    w = world(seats=4)
    w.tick()
    release = threading.Event()
    w.issuer.behave = lambda handler: hang_up(handler, release)
    waiting = threading.Thread(target=lambda: unavailable(lambda: w.finds("stranger")))
    waiting.start()
    while w.keys._under_way is None:
        time.sleep(0.001)

    began = time.perf_counter()
    for _ in range(1000):
        assert w.finds()
    each = (time.perf_counter() - began) / 1000
    release.set()
    waiting.join()

    assert each < 0.005


# -- what is told -----------------------------------------------------------------------------------------------------


def test_every_transition_is_told_once(world, caplog):
    caplog.set_level(logging.INFO, "zuplo_origin.jwks")
    w = world(ttl=600, max_stale=600, cooldown=30)
    w.issuer.keys.append(Key("RS256", "weak\n\x1b[31m", bits=1024))
    w.tick()
    w.issuer.keys = [Key(ES256, "two")]
    w.clock.pass_(500)
    w.tick()
    for n in range(9):
        w.finds(f"stranger-{n}")
    w.fail()
    for _ in range(500):
        w.clock.pass_(3)
        w.tick()
    w.recover()
    w.clock.pass_(5)
    w.tick()

    ours = [record.getMessage() for record in caplog.records if f"issuer={w.issuer.name} " in record.getMessage() + " "]
    events = [line.split()[0] for line in ours]
    assert events == [
        "jwks_first_keys",
        "jwks_key_refused",
        "jwks_rotated",
        "jwks_cooldown",
        "jwks_outage_begins",
        "jwks_serving_stale",
        "jwks_keys_expired",
        "jwks_outage_over",
    ]
    assert "\x1b" not in caplog.text and "weak\n" not in caplog.text


# -- all issuers ------------------------------------------------------------------------------------------------------


def test_readiness(world):
    first, second = world(ttl=10, max_stale=10), world(ttl=10, max_stale=10)
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
import os, sys, time
sys.path.insert(0, sys.argv[1])
from zuplo_origin.jwks.fetch import Document
from zuplo_origin.jwks.client import KeySets, Policy, RemoteKeySet, WaitingRoom

def fetch(etag, answers):
    import imported_late
    return Document(imported_late.BODY)

keys = RemoteKeySet("x", fetch, frozenset(["ES256"]), Policy(timeout=3), WaitingRoom(8))
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


def test_the_background_thread_fetches_before_anyone_asks_and_outlives_errors(world, caplog):
    w = world()
    sets = KeySets([w.keys])
    broken = threading.Event()
    original = w.keys.refresh_if_due

    def break_once():
        if not broken.is_set():
            broken.set()
            raise RuntimeError("once")
        original()

    w.keys.refresh_if_due = break_once
    sets.start()
    end = time.monotonic() + 10
    while w.keys.held() is None and time.monotonic() < end:
        time.sleep(0.01)

    assert w.finds() and w.fetches == 1
    assert "jwks_refresh_broke" in caplog.text


def test_a_refused_connection_at_the_start_is_no_crash(world):
    w = world()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/jwks"
        w.keys._fetch = Source(w.issuer.name, url, 2, 65536).fetch
        w.tick()

    assert w.keys.failing() and unavailable(w.finds) >= 1
