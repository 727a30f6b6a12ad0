"""Key sets that processes share: one of them asks the issuer, and what lies in the store is not believed as such."""

import base64
import json
import logging
import os
import socket
import stat
import threading
import time

import pytest

from package_tests.support.clock import Clock
from package_tests.support.issuer import Issuer, send
from package_tests.support.redis import RedisServer
from package_tests.support.servers import free_port, production
from package_tests.support.signing import Key
from zuplo_origin.jwks.client import Policy, RemoteKeySet, WaitingRoom
from zuplo_origin.jwks.fetch import Deferred, FetchFailed, Source
from zuplo_origin.jwks.keys import ALGORITHMS, parse_key_set
from zuplo_origin.jwks.redis_store import RedisStore
from zuplo_origin.jwks.shared import FAILURE, PAUSE, BoundedStore, FileStore, Seal, SharedKeys, StoreDown

KEY = b"k" * 32
ALLOWED = frozenset(ALGORITHMS)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["file", "redis"])
def store(request, tmp_path):
    if request.param == "file":
        yield FileStore(tmp_path / "jwks")
    else:
        server = request.getfixturevalue("redis")
        server.client.flushall()
        yield RedisStore(server.url)


@pytest.fixture
def gateway():
    made = Issuer([Key("ES256", "one")])
    yield made
    made.close()


class Fleet:
    """Processes that share a store, as far as their keys go, and the clock on their walls."""

    def __init__(self, issuer, store, **policy):
        self.issuer, self.store = issuer, store
        self.policy = Policy(**{"ttl": 600, "max_stale": 3600, "timeout": 5, "cooldown": 30} | policy)
        self.wall = Clock(time.time())

    def process(self, key=KEY, issuer=None, store=None):
        issuer = issuer or self.issuer
        source = Source(issuer.name, issuer.jwks_url, self.policy.timeout, 65536)
        bounded = BoundedStore(store or self.store)
        return SharedKeys(source, ALLOWED, self.policy, bounded, Seal(key), self.wall)

    @property
    def fetches(self):
        return len(self.issuer.requests)


def fetch(process, answers=None, etag=None):
    return process.fetch(etag, answers)


def wants(kid):
    return lambda key_set: key_set.answers(kid, "ES256")


def kids(document):
    return [key.kid for key in parse_key_set(document.body, ALLOWED).keys]


# -- one fetch for many -----------------------------------------------------------------------------------------------


def test_what_one_process_was_told_the_others_take(gateway, store):
    fleet = Fleet(gateway, store)
    gateway.headers = {"ETag": '"1"', "Cache-Control": "max-age=120"}
    first = fetch(fleet.process())
    fleet.wall.pass_(7)
    second = fetch(fleet.process())

    assert fleet.fetches == 1
    assert (second.body, second.etag, second.max_age) == (first.body, '"1"', 120)
    assert first.age == 0 and second.age == pytest.approx(7)


def test_what_was_taken_is_not_taken_again(gateway, store):
    fleet = Fleet(gateway, store)
    one, other = fleet.process(), fleet.process()
    fetch(one), fetch(other)
    fleet.wall.pass_(500)
    fetch(one)
    assert fleet.fetches == 2
    assert fetch(other).age == 0 and fleet.fetches == 2


def test_many_that_start_at_once_cause_one_fetch(gateway, store):
    fleet = Fleet(gateway, store)
    gateway.behave = lambda handler: (time.sleep(0.3), gateway.respond(handler))
    documents = []
    threads = [threading.Thread(target=lambda: documents.append(fetch(fleet.process()))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(documents) == 16 and fleet.fetches == 1


def test_a_rotation_costs_one_fetch(gateway, store):
    fleet = Fleet(gateway, store)
    processes = [fleet.process() for _ in range(6)]
    for process in processes:
        fetch(process)
    fleet.wall.pass_(60)
    gateway.keys.append(Key("ES256", "two"))
    for process in processes:
        assert "two" in kids(fetch(process, wants("two")))

    assert fleet.fetches == 2


def test_a_newer_set_that_lacks_the_key_does_not_stand_in_for_a_fetch(gateway, store):
    fleet = Fleet(gateway, store)
    one, other = fleet.process(), fleet.process()
    fetch(other)
    fleet.wall.pass_(10)
    fetch(one), fetch(one)  # the first of them took what there was
    fleet.wall.pass_(10)
    gateway.keys.append(Key("ES256", "two"))

    assert "two" in kids(fetch(other, wants("two"))) and fleet.fetches == 3


def test_unknown_ids_cause_two_fetches_in_a_window_for_the_whole_fleet(gateway, store):
    fleet = Fleet(gateway, store, cooldown=30)
    processes = [fleet.process() for _ in range(5)]
    for process in processes:
        fetch(process)
    outcomes = []
    for process in processes * 2:
        fleet.wall.pass_(0.1)
        try:
            outcomes.append(fetch(process, wants("nobody's")))
        except Deferred:
            outcomes.append(None)

    assert fleet.fetches == 3 and outcomes.count(None) >= 4
    assert fetch(fleet.process()).body  # a scheduled fetch needs no window


def test_a_failure_is_told_to_the_others(gateway, store):
    fleet = Fleet(gateway, store)
    gateway.behave = lambda handler: send(handler, 500, b"")
    with pytest.raises(FetchFailed, match="status 500"):
        fetch(fleet.process())
    with pytest.raises(FetchFailed, match="another process asked"):
        fetch(fleet.process())
    assert fleet.fetches == 1

    gateway.behave = None
    fleet.wall.pass_(FAILURE + 0.01)
    assert kids(fetch(fleet.process())) == ["one"]


def test_an_answer_that_is_no_key_set_is_not_shared(gateway, store):
    fleet = Fleet(gateway, store)
    gateway.document = {"keys": []}
    with pytest.raises(Exception, match="no usable key"):
        fetch(fleet.process())
    gateway.document = None
    fleet.wall.pass_(FAILURE + 0.01)

    assert fetch(fleet.process()).age == 0 and fleet.fetches == 2


def test_a_process_that_died_while_it_asked_holds_the_others_up_for_no_longer_than_a_fetch(gateway, store):
    fleet = Fleet(gateway, store, timeout=1)
    dead = fleet.process()
    assert dead._claim("turn", 2)
    with pytest.raises(FetchFailed, match="no answer yet"):
        fetch(fleet.process())
    assert fleet.fetches == 0
    fleet.wall.pass_(2)

    assert fetch(fleet.process()).age == 0


def test_an_unchanged_answer_is_shared_whole(gateway, store):
    fleet = Fleet(gateway, store)
    gateway.headers = {"ETag": '"1"'}
    one = fleet.process()
    fetch(one)
    fleet.wall.pass_(500)
    gateway.behave = lambda handler: send(handler, 304, b"")
    assert fetch(one, etag='"1"').body is None

    assert kids(fetch(fleet.process())) == ["one"] and fleet.fetches == 2


# -- who can write to the store ---------------------------------------------------------------------------------------


def stored(process):
    return f"{process._name}-keys"


def refused(caplog):
    return [one.msg.fields["why"] for one in caplog.records if str(one.msg).startswith("jwks_store_refused")]


def poisoned(fleet, caplog, value, process=None):
    """Put `value` in the place of the key set; return what a process that starts now gets, and what it says."""
    caplog.clear()
    process = process or fleet.process()
    fleet.store.put(stored(process), value, 600)
    return kids(fetch(process)), refused(caplog)


def test_a_strangers_key_set_is_refused_and_told(gateway, store, caplog):
    caplog.set_level(logging.INFO)
    fleet, stranger = Fleet(gateway, store), Issuer([Key("ES256", "strangers")])
    body = json.dumps(stranger.key_set()).encode()
    told = {"issuer": gateway.name, "url": gateway.jwks_url, "fetched_at": fleet.wall(), "etag": None, "max_age": None}
    told["number"] = 1
    stranger.close()
    name = stored(fleet.process())
    content = told | {"body": base64.b64encode(body).decode()}
    for value in (body, b"", b"x" * 10_000_000, json.dumps(content).encode(), Seal(b"s" * 32).close(name, content)):
        if value:
            assert poisoned(fleet, caplog, value) == (["one"], ["it was not sealed with this APP_KEY"])

    assert poisoned(fleet, caplog, Seal(KEY).close(name, content))[0] == ["strangers"]  # the test's own entry is right


def test_one_issuers_keys_are_not_anothers(gateway, store, caplog):
    caplog.set_level(logging.INFO)
    other = Issuer([Key("ES256", "others")])
    fleet = Fleet(gateway, store)
    fetch(fleet.process(issuer=other))
    sealed = store.get(stored(fleet.process(issuer=other)), 100_000)

    assert poisoned(fleet, caplog, sealed) == (["one"], ["it was not sealed with this APP_KEY"])
    content = Seal(KEY).open(stored(fleet.process(issuer=other)), sealed)
    resealed = Seal(KEY).close(stored(fleet.process()), content)
    assert poisoned(fleet, caplog, resealed) == (["one"], ["it is another issuer's"])
    other.close()


def test_a_withdrawn_key_does_not_come_back(gateway, store, caplog):
    fleet = Fleet(gateway, store)
    gateway.keys.append(Key("ES256", "withdrawn"))
    running = fleet.process()
    fetch(running)
    old = store.get(stored(running), 100_000)
    gateway.keys.pop()
    fleet.wall.pass_(500)
    assert kids(fetch(running)) == ["one"]

    assert poisoned(fleet, caplog, old, running) == (["one"], [])
    fleet.wall.pass_(600 + 3600 - 500)
    assert poisoned(fleet, caplog, old) == (["one"], [])


def test_a_set_from_the_future_is_refused(gateway, store, caplog):
    fleet = Fleet(gateway, store)
    fetch(fleet.process())
    value = store.get(stored(fleet.process()), 100_000)
    fleet.wall.pass_(-61)

    assert poisoned(fleet, caplog, value) == (["one"], ["it comes from the future"])


def test_a_set_that_is_no_use_here_is_refused(gateway, store, caplog):
    fleet = Fleet(gateway, store)
    fetch(fleet.process())
    content = Seal(KEY).open(stored(fleet.process()), store.get(stored(fleet.process()), 100_000))
    value = Seal(KEY).close(stored(fleet.process()), content | {"body": "e30="})

    assert poisoned(fleet, caplog, value) == (["one"], ["the answer is no key set: it has no list named keys"])


def test_nobody_is_held_up_by_a_claim_or_a_failure_that_is_not_ours(gateway, store):
    fleet = Fleet(gateway, store)
    process = fleet.process()
    for what in ("turn", "failed", "unknown-0", "unknown-1"):
        store.put(f"{process._name}-{what}", b"stay away", 600)

    assert kids(fetch(process)) == ["one"] and kids(fetch(process, wants("two"))) == ["one"]


def test_a_rotation_is_noticed_though_somebody_deletes_what_was_fetched(gateway, store):
    fleet = Fleet(gateway, store)
    processes = [fleet.process() for _ in range(6)]
    for process in processes:
        fetch(process)
    gateway.keys.append(Key("ES256", "two"))
    for process in processes:
        fleet.wall.pass_(1)
        store.delete(stored(process))
        assert "two" in kids(fetch(process, wants("two")))


def test_a_rotation_is_noticed_though_somebody_puts_back_what_was_there(gateway, store):
    fleet = Fleet(gateway, store)
    processes = [fleet.process() for _ in range(6)]
    for process in processes:
        fetch(process)
    old = store.get(stored(processes[0]), 100_000)
    gateway.keys.append(Key("ES256", "two"))
    for process in processes:
        fleet.wall.pass_(1)
        store.put(stored(process), old, 600)
        assert "two" in kids(fetch(process, wants("two")))


def test_whoever_has_waited_in_vain_asks_by_itself(gateway, store):
    fleet = Fleet(gateway, store, timeout=1)
    process, name = fleet.process(), f"{fleet.process()._name}-turn"
    for _ in range(2):
        store.put(name, Seal(KEY).close(name, {"until": fleet.wall() + 100, "after": 0}), 100)  # again and again
        with pytest.raises(FetchFailed, match="no answer yet"):
            fetch(process)
        store.put(name, Seal(KEY).close(name, {"until": fleet.wall() + 100, "after": 0}), 100)
        assert kids(fetch(process)) == ["one"]


def test_a_rotation_costs_one_fetch_though_clocks_differ(gateway, store):
    fleet = Fleet(gateway, store)
    ahead, others = fleet.process(), [fleet.process() for _ in range(4)]
    ahead._clock = lambda: fleet.wall() + 50
    fetch(ahead)
    for process in others:
        fetch(process)
    fleet.wall.pass_(10)
    gateway.keys.append(Key("ES256", "two"))
    for process in [*others, ahead]:
        assert "two" in kids(fetch(process, wants("two")))

    assert fleet.fetches == 2


@pytest.mark.parametrize("value", [b"", b"x", b"0" * 64, b"0" * 64 + b"{}", "é".encode() * 40])
def test_a_seal_opens_nothing_else(value):
    seal = Seal(KEY)
    closed = seal.close("a", {"until": 1})

    assert seal.open("a", closed) == {"until": 1}
    assert (seal.open("b", closed), Seal(b"o" * 32).open("a", closed), seal.open("a", value)) == (None, None, None)
    assert not any(
        seal.open("a", closed[:at] + bytes([closed[at] ^ 1]) + closed[at + 1 :]) for at in range(len(closed))
    )


# -- stores -----------------------------------------------------------------------------------------------------------


def test_a_store_keeps_a_value_for_its_time(store):
    store.put("a", b"value", 0.2)
    assert (store.get("a", 100), store.get("a", 2), store.get("b", 100)) == (b"value", b"va", None)
    store.put("b", b"1", 60)
    store.delete("b")
    store.delete("b")
    assert store.get("b", 100) is None
    end = time.monotonic() + 10
    while store.get("a", 100) is not None:
        assert time.monotonic() < end


def test_of_many_that_add_at_once_one_was_first(store):
    first = []
    threads = [threading.Thread(target=lambda: first.append(store.add("a", b"1", 60))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert first.count(True) == 1
    store.put("a", b"1", 0.001)
    time.sleep(0.01)
    assert store.add("a", b"2", 60) and store.get("a", 9) == b"2"


def test_files_are_nobody_elses(tmp_path):
    before = os.umask(0)
    FileStore(tmp_path / "jwks").put("a", b"1", 60)
    os.umask(before)

    assert stat.S_IMODE((tmp_path / "jwks").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "jwks/a").stat().st_mode) == 0o600


def test_where_the_store_is_down_the_issuer_is_asked(gateway, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    with RedisServer(tmp_path) as redis:
        fleet = Fleet(gateway, RedisStore(redis.url))
        bounded = BoundedStore(fleet.store, clock)
        source = Source(gateway.name, gateway.jwks_url, 5, 65536)
        process = SharedKeys(source, ALLOWED, fleet.policy, bounded, Seal(KEY), fleet.wall)
        redis.stop()
        for _ in range(3):
            assert kids(fetch(process)) == ["one"]
        told = [str(one.msg) for one in caplog.records if one.name == "zuplo_origin.jwks"]
        assert fleet.fetches == 3 and told == ["jwks_store_down why=ConnectionError"]

        redis.start()
        clock.pass_(PAUSE + 1)
        fleet.wall.pass_(1)
        fetch(process)
        assert [str(one.msg) for one in caplog.records if one.name == "zuplo_origin.jwks"][1:] == ["jwks_store_back"]
        assert kids(fetch(fleet.process())) == ["one"] and fleet.fetches == 4


def test_what_was_fetched_while_the_store_was_down_is_not_replaced_by_what_is_older(gateway, store):
    fleet = Fleet(gateway, store)
    clock, working = Clock(), fleet.store
    began = clock()
    gateway.keys.append(Key("ES256", "withdrawn"))
    fetch(fleet.process())
    gateway.keys.pop()

    class Failing:
        def get(self, name, longest):
            if clock() == began:
                raise OSError
            return working.get(name, longest)

        put, add, delete = working.put, working.add, working.delete

    source = Source(gateway.name, gateway.jwks_url, 5, 65536)
    process = SharedKeys(source, ALLOWED, fleet.policy, BoundedStore(Failing(), clock), Seal(KEY), fleet.wall)
    fleet.wall.pass_(5)
    assert kids(fetch(process)) == ["one"]
    clock.pass_(PAUSE + 1)
    fleet.wall.pass_(5)

    assert kids(fetch(process)) == ["one"]


def test_a_store_that_hangs_costs_half_a_second_once(gateway, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        process = Fleet(gateway, store).process()
        began = time.monotonic()
        for _ in range(5):
            assert kids(fetch(process)) == ["one"]
        assert time.monotonic() - began < 3

    class Hanging:
        def get(self, name, longest):
            time.sleep(60)

    with pytest.raises(StoreDown):
        BoundedStore(Hanging()).get("a", 1)


# -- in a process -----------------------------------------------------------------------------------------------------


def remote(fleet, clock):
    return RemoteKeySet(
        fleet.issuer.name,
        fleet.process().fetch,
        ALLOWED,
        fleet.policy,
        WaitingRoom(8),
        clock,
        lambda low, high: (low + high) / 2,
    )


def test_shared_keys_are_as_old_as_they_are(gateway, store):
    fleet, clock = Fleet(gateway, store), Clock()
    first = remote(fleet, clock)
    assert first.find("one", "ES256")
    fleet.wall.pass_(400)
    clock.pass_(400)
    second = remote(fleet, clock)
    assert second.find("one", "ES256") and fleet.fetches == 1
    assert second.age() == pytest.approx(400, abs=1) and second.until_due() == pytest.approx(80, abs=1)

    gateway.behave = lambda handler: send(handler, 500, b"")
    fleet.wall.pass_(400)
    clock.pass_(400)
    third = remote(fleet, clock)
    assert third.find("one", "ES256") and not third.is_fresh()
    clock.pass_(3400)
    fleet.wall.pass_(3400)
    assert (first.held(), second.held(), third.held()) == (None, None, None)


def test_an_unknown_id_that_the_fleet_has_asked_for_enough_is_the_tokens_fault(gateway, store):
    fleet, clock = Fleet(gateway, store), Clock()
    sets = [remote(fleet, clock) for _ in range(4)]
    for one in sets:
        assert one.find("one", "ES256")
    for one in sets * 2:
        assert one.find("nobody's", "ES256") is None
    assert fleet.fetches == 3 and not any(one.failing() for one in sets)


def test_a_new_process_works_at_once_while_the_issuer_is_down(tmp_path, redis):
    redis.client.flushall()
    issuer = Issuer([Key("EdDSA", "one")])
    settings = {
        "JWT_ISSUER": issuer.name,
        "JWT_AUDIENCE": "*",
        "WEB_CONCURRENCY": "2",
        "APP_KEY": "k" * 40,
        "JWKS_STORE": redis.url,
    }
    bearer = {"Authorization": f"Bearer {issuer.token()}"}
    with production(free_port(), tmp_path / "first", **settings) as server:
        assert server.get("/protected", bearer)[0] == 200
    assert len(issuer.requests) == 1
    issuer.close()

    with production(free_port(), tmp_path / "second", **settings) as server:
        assert [server.get("/protected", bearer)[0] for _ in range(20)] == [200] * 20
    with production(free_port(), tmp_path / "stranger", **settings | {"APP_KEY": "s" * 40}) as server:
        assert server.get("/protected", bearer)[0] == 503
        assert "jwks_store_refused" in server.output()
