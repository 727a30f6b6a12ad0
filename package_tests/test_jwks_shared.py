"""Key sets that processes share: one process fetches, and only signed values of the store are trusted."""

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from package_tests.support.clock import Clock, poll
from package_tests.support.issuer import Issuer, send
from package_tests.support.redis import RedisServer
from package_tests.support.servers import ROOT, free_port, production
from package_tests.support.signing import Key
from zuplo_origin.jwks.algorithms import ALGORITHMS
from zuplo_origin.jwks.client import KeysUnavailable, Policy, RemoteKeySet
from zuplo_origin.jwks.failures import Failure, FetchFailed
from zuplo_origin.jwks.fetch import Deferred, Source
from zuplo_origin.jwks.keys import WantedKey, parse_key_set
from zuplo_origin.jwks.redis_store import RedisStore
from zuplo_origin.jwks.shared import FAILURE_LIFETIME, SharedKeys
from zuplo_origin.jwks.stores import PAUSE, BoundedStore, FileStore, StoreDown

KEY = b"k" * 32
ALLOWED = frozenset(ALGORITHMS)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["file", "redis"])
def store(request, tmp_path, monkeypatch):
    # these tests are not about the store's time limits, which a loaded machine exceeds
    monkeypatch.setattr("zuplo_origin.jwks.stores.OPERATION_TIMEOUT", 20.0)
    monkeypatch.setattr("zuplo_origin.jwks.redis_store.TIMEOUT", 20.0)
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
    """The key sets of several processes that share a store and a wall clock."""

    def __init__(self, issuer, store, **policy):
        self.issuer, self.store = issuer, store
        self.policy = Policy(**{"ttl": 600, "max_stale": 3600, "timeout": 5, "cooldown": 30} | policy)
        self.wall = Clock(time.time())

    def process(self, key=KEY, issuer=None, store=None):
        issuer = issuer or self.issuer
        source = Source(issuer.name, issuer.jwks_url, self.policy.timeout, 262144)
        bounded = BoundedStore(store or self.store)
        return SharedKeys(source, ALLOWED, self.policy, bounded, key, self.wall)

    @property
    def fetches(self):
        return len(self.issuer.requests)


def fetch(process, wanted=None):
    return process.fetch(wanted)


def wants(kid):
    return WantedKey(kid, "ES256")


def kids(document):
    return [key.kid for key in parse_key_set(document.body, ALLOWED).keys]


# -- one fetch for all processes --------------------------------------------------------------------------------------


def test_fetched_key_set_is_returned_to_the_other_processes(gateway, store):
    fleet = Fleet(gateway, store)
    gateway.headers = {"ETag": '"1"', "Cache-Control": "max-age=120", "Age": "20"}
    first = fetch(fleet.process())
    fleet.wall.pass_(7)
    second = fetch(fleet.process())

    assert fleet.fetches == 1
    assert (second.body, second.url, second.max_age) == (first.body, gateway.jwks_url, 100)
    assert "If-None-Match" not in gateway.requests[0][1]
    assert first.age == 0 and second.age == pytest.approx(7)


def test_key_set_is_not_returned_twice_to_one_process(gateway, store):
    fleet = Fleet(gateway, store)
    one, other = fleet.process(), fleet.process()
    fetch(one), fetch(other)
    fleet.wall.pass_(500)
    fetch(one)
    assert fleet.fetches == 2
    assert fetch(other).age == 0 and fleet.fetches == 2


def test_processes_that_start_together_cause_one_fetch(gateway, store):
    fleet = Fleet(gateway, store, timeout=20)
    processes = [fleet.process() for _ in range(16)]
    reads = []
    for process in processes:
        process._sleep = lambda seconds: (reads.append(seconds), time.sleep(0.01))

    def behave(handler):
        poll(lambda: len(reads) >= 15)  # the others have found no key set, and no turn
        send(handler, 200, json.dumps(gateway.key_set()).encode())

    gateway.behave = behave
    documents = []
    threads = [threading.Thread(target=lambda one=process: documents.append(fetch(one))) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(documents) == 16 and fleet.fetches == 1


def test_rotation_costs_one_fetch(gateway, store):
    fleet = Fleet(gateway, store)
    processes = [fleet.process() for _ in range(6)]
    for process in processes:
        fetch(process)
    fleet.wall.pass_(60)
    gateway.keys.append(Key("ES256", "two"))
    for process in processes:
        assert "two" in kids(fetch(process, wants("two")))

    assert fleet.fetches == 2


def test_unknown_key_causes_a_fetch_if_the_newer_stored_key_set_lacks_it(gateway, store):
    fleet = Fleet(gateway, store)
    one, other = fleet.process(), fleet.process()
    fetch(other)
    fleet.wall.pass_(10)
    fetch(one), fetch(one)  # the first of them took what there was
    fleet.wall.pass_(10)
    gateway.keys.append(Key("ES256", "two"))

    assert "two" in kids(fetch(other, wants("two"))) and fleet.fetches == 3


def test_unknown_keys_cause_two_fetches_in_a_window_for_all_processes(gateway, store):
    fleet = Fleet(gateway, store, cooldown=30)
    processes = [fleet.process() for _ in range(5)]
    for process in processes:
        fetch(process)
    outcomes = []
    for process in processes * 2:
        fleet.wall.pass_(0.1)
        try:
            outcomes.append(fetch(process, wants("missing")))
        except Deferred:
            outcomes.append(None)

    assert fleet.fetches == 3 and outcomes.count(None) >= 4
    assert fetch(fleet.process()).body  # a scheduled fetch needs no window


def test_failed_fetch_is_not_repeated_by_the_other_processes(gateway, store):
    fleet = Fleet(gateway, store)
    gateway.behave = lambda handler: send(handler, 500, b"")
    failures = []
    for _ in range(2):
        with pytest.raises(FetchFailed, match="status 500") as caught:
            fetch(fleet.process())
        failures.append((caught.value.cause, str(caught.value), caught.value.retry_after))
    assert fleet.fetches == 1 and failures[0] == failures[1]

    gateway.behave = None
    fleet.wall.pass_(FAILURE_LIFETIME + 0.01)
    assert kids(fetch(fleet.process())) == ["one"]


def test_response_without_a_usable_key_is_not_stored(gateway, store):
    fleet = Fleet(gateway, store)
    gateway.document = {"keys": []}
    with pytest.raises(Failure, match="list of keys is empty"):
        fetch(fleet.process())
    gateway.document = None
    fleet.wall.pass_(FAILURE_LIFETIME + 0.01)

    assert fetch(fleet.process()).age == 0 and fleet.fetches == 2


def test_crashed_process_delays_the_others_for_one_fetch_at_most(gateway, store):
    fleet = Fleet(gateway, store, timeout=1)
    dead = fleet.process()
    assert dead._claim("turn", 2)
    with pytest.raises(FetchFailed, match="no response yet"):
        fetch(fleet.process())
    assert fleet.fetches == 0
    fleet.wall.pass_(2)

    assert fetch(fleet.process()).age == 0


def test_retry_after_of_the_issuer_holds_for_all_processes(gateway, store):
    fleet = Fleet(gateway, store)
    gateway.behave = lambda handler: send(handler, 429, b"", {"Retry-After": "60"})
    waits = []
    for _ in range(2):
        with pytest.raises(FetchFailed, match="status 429") as caught:
            fetch(fleet.process())
        waits.append(caught.value.retry_after)
        fleet.wall.pass_(20)
    assert waits == pytest.approx([60, 40]) and fleet.fetches == 1


def test_failure_of_before_a_successful_fetch_is_ignored(gateway, store):
    fleet = Fleet(gateway, store)
    process = fleet.process()
    gateway.behave = lambda handler: send(handler, 429, b"", {"Retry-After": "600"})
    with pytest.raises(FetchFailed):
        fetch(process)
    failed = store.get(f"{process._prefix}-failed", 100_000)
    fleet.wall.pass_(601)
    gateway.behave = None
    fetch(process)
    fleet.wall.pass_(-300)  # as if its time were not over
    store.put(f"{process._prefix}-failed", failed, 600)

    assert kids(fetch(process)) == ["one"] and fleet.fetches == 3


def test_replaced_key_costs_one_fetch(gateway, store):
    fleet = Fleet(gateway, store)
    processes = [fleet.process() for _ in range(6)]
    for process in processes:
        fetch(process)
    gateway.keys = [Key("ES256", "one")]
    fetched = [fetch(process, WantedKey("one", "ES256", is_replaced=True)).body for process in processes]

    assert set(fetched) == {json.dumps(gateway.key_set()).encode()} and fleet.fetches == 2


def test_bad_signatures_cause_two_fetches_in_a_window_for_all_processes(gateway, store):
    fleet = Fleet(gateway, store)
    processes = [fleet.process() for _ in range(5)]
    for process in processes:
        fetch(process)
    waits = []
    for process in processes * 2:
        fleet.wall.pass_(0.1)
        try:
            waits.append(fetch(process, WantedKey("one", "ES256", is_replaced=True)).deferred_for)
        except Deferred as deferred:
            waits.append(deferred.seconds)

    assert fleet.fetches == 3 and waits[:2] == [0, 0] and all(25 < wait < 30 for wait in waits[2:])


# -- values of other writers ------------------------------------------------------------------------------------------


def stored(process):
    return f"{process._prefix}-keys"


def events(caplog):
    return [str(record.msg) for record in caplog.records if record.name == "zuplo_origin.jwks"]


def rejections(caplog):
    return [one.msg.fields["why"] for one in caplog.records if str(one.msg).startswith("jwks_store_entry_rejected")]


def stored_value_effect(fleet, caplog, value, process=None):
    """Store `value` as the key set; return the keys that a new process gets, and the rejections that it logs."""
    caplog.clear()
    process = process or fleet.process()
    fleet.store.put(stored(process), value, 600)
    return kids(fetch(process)), rejections(caplog)


def signed(process, what, content):
    return process._sign(what, content)


def test_stored_key_set_is_rejected_without_a_signature_of_this_app_key(gateway, store, caplog):
    caplog.set_level(logging.INFO)
    fleet, attacker = Fleet(gateway, store), Issuer([Key("ES256", "attacker")])
    body = json.dumps(attacker.key_set())
    attacker.close()
    content = {"number": 1, "fetched_at": fleet.wall(), "body": body, "url": "https://x/", "max_age": None}
    forged = signed(fleet.process(key=b"s" * 32), "keys", content)
    for value in (body.encode(), b"x", b"x" * 10_000_000, json.dumps(content).encode(), forged):
        assert stored_value_effect(fleet, caplog, value) == (["one"], ["it was not signed with this APP_KEY"])

    # the same content is accepted with a valid signature: only the signature made the difference
    assert stored_value_effect(fleet, caplog, signed(fleet.process(), "keys", content)) == (["attacker"], [])


def test_stored_key_set_is_rejected_under_the_name_of_another_issuer(gateway, store, caplog):
    caplog.set_level(logging.INFO)
    other = Issuer([Key("ES256", "other")])
    fleet = Fleet(gateway, store)
    fetch(fleet.process(issuer=other))
    value = store.get(stored(fleet.process(issuer=other)), 100_000)
    other.close()

    assert stored_value_effect(fleet, caplog, value) == (["one"], ["it was not signed with this APP_KEY"])


def test_withdrawn_key_does_not_return_with_an_old_stored_value(gateway, store, caplog):
    fleet = Fleet(gateway, store)
    gateway.keys.append(Key("ES256", "withdrawn"))
    running = fleet.process()
    fetch(running)
    old = store.get(stored(running), 100_000)
    gateway.keys.pop()
    fleet.wall.pass_(500)
    assert kids(fetch(running)) == ["one"]

    assert stored_value_effect(fleet, caplog, old, running) == (["one"], [])
    fleet.wall.pass_(600 + 3600 - 500)
    assert stored_value_effect(fleet, caplog, old) == (["one"], [])


def test_stored_key_set_is_rejected_if_it_was_fetched_in_the_future(gateway, store, caplog):
    fleet = Fleet(gateway, store)
    fetch(fleet.process())
    value = store.get(stored(fleet.process()), 100_000)
    fleet.wall.pass_(-61)

    assert stored_value_effect(fleet, caplog, value) == (
        ["one"],
        ["it was fetched in the future: check the clocks of the machines"],
    )


def test_stored_key_set_is_rejected_if_it_is_not_a_key_set(gateway, store, caplog):
    fleet = Fleet(gateway, store)
    fetch(fleet.process())
    body = '{"no": "keys"}'
    content = {"number": 9, "fetched_at": fleet.wall(), "body": body, "url": "https://x/", "max_age": None}
    value = signed(fleet.process(), "keys", content)

    why = "https://x/: it is not a key set: it is an object with 'no', without a list 'keys'"
    assert stored_value_effect(fleet, caplog, value) == (["one"], [why])


def test_unsigned_claims_and_failures_are_ignored(gateway, store):
    fleet = Fleet(gateway, store)
    process = fleet.process()
    for what in ("turn", "failed", "unknown-0", "unknown-1"):
        store.put(f"{process._prefix}-{what}", b"stay away", 600)

    assert kids(fetch(process)) == ["one"] and kids(fetch(process, wants("two"))) == ["one"]


def test_rotation_is_found_if_the_stored_key_set_is_deleted(gateway, store):
    fleet = Fleet(gateway, store)
    processes = [fleet.process() for _ in range(6)]
    for process in processes:
        fetch(process)
    gateway.keys.append(Key("ES256", "two"))
    for process in processes:
        fleet.wall.pass_(1)
        store.delete(stored(process))
        assert "two" in kids(fetch(process, wants("two")))


def test_rotation_is_found_if_an_old_key_set_is_put_back(gateway, store):
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


def test_process_fetches_alone_after_waiting_in_vain(gateway, store):
    fleet = Fleet(gateway, store, timeout=1)
    process = fleet.process()
    for _ in range(2):
        for outcome in ("waits", "fetches"):
            # another process takes its turn again and again
            turn = signed(process, "turn", {"until": fleet.wall() + 100, "after": 0})
            store.put(f"{process._prefix}-turn", turn, 100)
            if outcome == "waits":
                with pytest.raises(FetchFailed, match="no response yet"):
                    fetch(process)
            else:
                assert kids(fetch(process)) == ["one"]


def test_rotation_costs_one_fetch_if_the_clocks_of_machines_differ(gateway, store):
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


@pytest.mark.parametrize("value", [b"", b"x", b".", b"{}.", b"0" * 64 + b"{}", "é".encode() * 40])
def test_signature_is_valid_for_one_name_and_one_key_only(gateway, tmp_path, value):
    fleet = Fleet(gateway, FileStore(tmp_path))
    process = fleet.process()
    content = {"until": fleet.wall() + 100}
    signed_value = signed(process, "turn", content)

    def read(what, stored, by=process):
        by._store.put(f"{by._prefix}-{what}", stored, 100)
        return by._current(what)

    assert read("turn", signed_value) == content
    assert read("failed", signed_value) is None
    assert read("turn", signed_value, fleet.process(key=b"o" * 32)) is None
    assert read("turn", value) is None
    for place in range(signed_value.rindex(b".")):
        changed = bytearray(signed_value)
        changed[place] ^= 1
        assert read("turn", bytes(changed)) is None


def test_signature_of_a_key_set_is_not_valid_for_another_issuers_name(gateway, tmp_path):
    fleet = Fleet(gateway, FileStore(tmp_path))
    other = Issuer([])
    other.close()
    value = signed(fleet.process(issuer=other), "turn", {"until": fleet.wall() + 100})
    process = fleet.process()
    process._store.put(f"{process._prefix}-turn", value, 100)

    assert process._current("turn") is None


# -- parsing ----------------------------------------------------------------------------------------------------------


def test_key_set_is_parsed_once_from_arrival_to_the_cache(gateway, store, monkeypatch):
    parsed = []

    def counting(body, allowed, url):
        parsed.append(body)
        return parse_key_set(body, allowed, url)

    monkeypatch.setattr("zuplo_origin.jwks.shared.parse_key_set", counting)
    monkeypatch.setattr("zuplo_origin.jwks.client.parse_key_set", counting)
    fleet, clock = Fleet(gateway, store), Clock()
    first, second = remote(fleet, clock), remote(fleet, clock)
    assert first.find("one", "ES256") and len(parsed) == 1  # from the issuer
    assert second.find("one", "ES256") and len(parsed) == 2  # from the store
    assert fleet.fetches == 1


def test_stored_key_set_is_parsed_once_while_a_process_polls(gateway, store, monkeypatch):
    fleet = Fleet(gateway, store, timeout=1)
    process, other = fleet.process(), fleet.process()
    fetch(other)
    fetch(process)
    parsed = []
    monkeypatch.setattr("zuplo_origin.jwks.shared.parse_key_set", lambda *arguments: parsed.append(arguments))
    assert other._claim("turn", 100)
    with pytest.raises(FetchFailed, match="no response yet"):
        fetch(process)

    assert parsed == []


# -- stores -----------------------------------------------------------------------------------------------------------


def test_value_is_stored_for_its_lifetime(store):
    store.put("a", b"value", 0.2)
    assert (store.get("a", 100), store.get("a", 2), store.get("b", 100)) == (b"value", b"va", None)
    store.put("b", b"1", 60)
    store.delete("b")
    store.delete("b")
    assert store.get("b", 100) is None
    poll(lambda: store.get("a", 100) is None)


def test_add_returns_true_for_one_of_many_concurrent_calls(store):
    for name in map(str, range(20)):
        added = []
        barrier = threading.Barrier(16)

        def add(name=name, barrier=barrier, added=added):
            barrier.wait(60)
            added.append(store.add(name, b"1", 60))

        threads = [threading.Thread(target=add) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert added.count(True) == 1 and len(added) == 16


def test_add_succeeds_after_the_lifetime_of_the_last_value(store):
    store.put("a", b"1", 0.001)
    poll(lambda: store.add("a", b"2", 60))

    assert store.get("a", 9) == b"2"


def test_files_are_readable_by_their_owner_only(tmp_path):
    before = os.umask(0)
    try:
        FileStore(tmp_path / "jwks").put("a", b"1", 60)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "jwks").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "jwks/a").stat().st_mode) == 0o600


def test_each_process_fetches_from_the_issuer_while_the_store_is_down(gateway, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    with RedisServer(tmp_path) as redis:
        fleet = Fleet(gateway, RedisStore(redis.url))
        bounded = BoundedStore(fleet.store, clock)
        source = Source(gateway.name, gateway.jwks_url, 5, 262144)
        process = SharedKeys(source, ALLOWED, fleet.policy, bounded, KEY, fleet.wall)
        redis.stop()
        for _ in range(3):
            assert kids(fetch(process)) == ["one"]
        assert fleet.fetches == 3 and [each.partition(":")[0] for each in events(caplog)] == [
            "jwks_store_down why='ConnectionRefusedError"
        ]

        redis.start()
        clock.pass_(PAUSE + 1)
        fleet.wall.pass_(1)
        fetch(process)
        assert events(caplog)[1:] == ["jwks_store_back"]
        assert kids(fetch(fleet.process())) == ["one"] and fleet.fetches == 4


def test_key_set_fetched_while_the_store_was_down_is_not_replaced_by_an_older_one(gateway, store):
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

    source = Source(gateway.name, gateway.jwks_url, 5, 262144)
    process = SharedKeys(source, ALLOWED, fleet.policy, BoundedStore(Failing(), clock), KEY, fleet.wall)
    fleet.wall.pass_(5)
    assert kids(fetch(process)) == ["one"]
    clock.pass_(PAUSE + 1)
    fleet.wall.pass_(5)

    assert kids(fetch(process)) == ["one"]


def test_hanging_server_costs_one_operation_for_several_fetches(gateway, tmp_path, monkeypatch):
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        get = store.get
        monkeypatch.setattr(store, "get", lambda *arguments: connections.append(1) or get(*arguments))
        process = Fleet(gateway, store).process()
        for _ in range(5):
            assert kids(fetch(process)) == ["one"]

    assert len(connections) == 1


class HangingStore:
    """A store whose operations wait for `release`."""

    def __init__(self):
        self.release = threading.Event()
        self.begun, self.threads = [], set()

    def get(self, name, longest):
        self.begun.append(name)
        self.threads.add(threading.current_thread())
        if name == "hangs":
            self.release.wait(60)
        return b"value"

    def put(self, name, value, seconds):
        self.begun.append(name)

    add = delete = put


@pytest.fixture
def hanging():
    made = HangingStore()
    yield made
    made.release.set()


def seconds_until_down(operation):
    began = time.monotonic()
    with pytest.raises(StoreDown):
        operation()
    return time.monotonic() - began


def test_operation_takes_half_a_second_at_most(hanging):
    # the shortest of several attempts: a busy machine makes some of them longer
    taken = min(seconds_until_down(lambda: BoundedStore(hanging).get("hangs", 1)) for _ in range(4))

    assert taken == pytest.approx(0.5, abs=0.2)


def test_name_resolution_takes_half_a_second_at_most(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **named: release.wait(60) and [])
    try:
        taken = min(
            seconds_until_down(lambda: BoundedStore(RedisStore("redis://redis.example")).get("a", 1)) for _ in range(4)
        )
    finally:
        release.set()

    assert taken == pytest.approx(0.5, abs=0.2)


def test_operations_share_one_thread(hanging):
    bounded = BoundedStore(hanging)
    for _ in range(100):
        assert bounded.get("a", 1) == b"value"

    assert len(hanging.threads) == 1 and threading.current_thread() not in hanging.threads


def test_store_stays_down_while_an_operation_hangs_and_leaves_one_thread(hanging):
    clock = Clock()
    bounded = BoundedStore(hanging, clock)
    seconds_until_down(lambda: bounded.get("hangs", 1))
    for _ in range(5):
        clock.pass_(PAUSE + 1)
        assert seconds_until_down(lambda: bounded.get("a", 1)) < 0.4
    assert hanging.begun == ["hangs"] and len(hanging.threads) == 1

    hanging.release.set()
    poll(lambda: bounded._hanging.done())
    clock.pass_(PAUSE + 1)
    assert bounded.get("a", 1) == b"value" and len(hanging.threads) == 1


def test_operation_behind_a_hanging_one_is_never_run(hanging):
    bounded = BoundedStore(hanging)
    first = threading.Thread(target=lambda: seconds_until_down(lambda: bounded.get("hangs", 1)))
    first.start()
    poll(lambda: hanging.begun)
    seconds_until_down(lambda: bounded.put("late", b"1", 1))
    first.join()
    hanging.release.set()
    poll(lambda: bounded._hanging.done())
    bounded._down_until = None
    assert bounded.get("a", 1) == b"value"

    assert hanging.begun == ["hangs", "a"]


FORK = """
import os
from zuplo_origin.jwks.stores import BoundedStore

class Store:
    def get(self, name, longest):
        return b"value"
    put = add = delete = get

bounded = BoundedStore(Store())
assert bounded.get("a", 1) == b"value"
child = os.fork()
assert bounded.get("a", 1) == b"value"
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_store_works_in_a_forked_child():
    assert subprocess.run([sys.executable, "-c", FORK], cwd=ROOT, timeout=60).returncode == 0


# -- in a process -----------------------------------------------------------------------------------------------------


def remote(fleet, clock):
    return RemoteKeySet(
        fleet.issuer.name,
        fleet.process().fetch,
        ALLOWED,
        fleet.policy,
        threading.BoundedSemaphore(8),
        clock,
        lambda low, high: (low + high) / 2,
    )


def test_age_of_a_shared_key_set_counts_from_its_fetch(gateway, store):
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
    assert (first.cached(), second.cached(), third.cached()) == (None, None, None)


def test_unknown_key_is_unavailable_after_the_fetches_of_the_window(gateway, store):
    fleet, clock = Fleet(gateway, store), Clock()
    sets = [remote(fleet, clock) for _ in range(4)]
    for one in sets:
        assert one.find("one", "ES256")
    outcomes = [outcome(one, "missing") for one in sets * 2]

    assert fleet.fetches == 3 and not any(one.failing() for one in sets)
    assert outcomes[:2] == [(), ()] and all(1 <= each <= 30 for each in outcomes[2:])


def outcome(one, kid):
    try:
        return one.find(kid, "ES256")
    except KeysUnavailable as unavailable:
        return unavailable.retry_after


def test_deferred_fetch_is_made_at_the_end_of_the_window(gateway, store):
    fleet, clock = Fleet(gateway, store), Clock()
    sets = [remote(fleet, clock) for _ in range(4)]
    for each in sets:
        assert each.find("one", "ES256")
    for each in sets * 2:
        outcome(each, "two")
    deferred = sets[-1]
    gateway.keys.append(Key("ES256", "two"))
    assert 29 <= deferred.until_due() <= 30
    fleet.wall.pass_(31)
    clock.pass_(31)
    deferred.refresh_if_due()
    poll(lambda: deferred.cached().key_set.find("two", "ES256"))

    assert fleet.fetches == 4


def test_new_server_accepts_tokens_while_the_issuer_is_down(tmp_path, redis):
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
    with production(free_port(), tmp_path / "other-key", **settings | {"APP_KEY": "s" * 40}) as server:
        assert server.get("/protected", bearer)[0] == 503
        assert "jwks_store_entry_rejected" in server.output()
