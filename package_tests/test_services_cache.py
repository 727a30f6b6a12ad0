"""The stores of the cache, on files and in Redis, and the rate limiter over them."""

import multiprocessing
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from masonite.rates import Limit, Limiter
from masonite.routes import Route

from package_tests.support.applications import EchoController, application
from package_tests.support.redis import RedisServer
from package_tests.support.wsgi_client import request
from zuplo_origin.http.kernel import Provider
from zuplo_origin.http.routing import Declaration, RouteError
from zuplo_origin.services.cache import LARGEST, CacheProvider, CacheUnavailable, problems_of
from zuplo_origin.services.cache_files import FileStore
from zuplo_origin.services.cache_redis import TIMEOUT, RedisStore
from zuplo_origin.services.rates import CallerLimiter, RateProvider, ThrottleRequestsMiddleware
from zuplo_origin.services.start import CANNOT_START


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["file", "redis"])
def make_store(request, tmp_path):
    """Return a function that opens the store, as each process does."""
    if request.param == "file":
        return lambda: FileStore("local", tmp_path / "cache")
    redis = request.getfixturevalue("redis")
    redis.client.flushall()
    return lambda: RedisStore("redis", {"port": redis.port, "name": "orders*"})


@pytest.fixture
def store(make_store):
    return make_store()


VALUES = [
    "21",
    21,
    2.5,
    True,
    None,
    "",
    [],
    {},
    [1, "1", {"a": None}],
    {"1": [True]},
    "\u00e9\u2028",
    2**70,
    "x" * 100_000,
]
KEYS = ["a", "../../etc/passwd", "a/b", "", "\u00e9\0\n", "k" * 5000, "*", ".lock", "\ud800", "a b:c"]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_value_comes_back_as_it_went_in(store, value):
    assert store.put("key", value) == value

    found = store.get("key", "default")
    assert (found, type(found)) == (value, type(value))
    assert store.has("key")


def test_any_text_is_a_key_of_its_own(store):
    for number, key in enumerate(KEYS):
        store.put(key, number)

    assert [store.get(key) for key in KEYS] == list(range(len(KEYS)))


@pytest.mark.parametrize("value", [{1: "a"}, [{"a": {None: 1}}], object(), b"bytes", {1, 2}, float])
def test_value_that_would_not_come_back_is_an_error(store, value):
    with pytest.raises(TypeError):
        store.put("key", value)
    assert not store.has("key")


def test_value_that_is_too_large_is_an_error(store):
    with pytest.raises(ValueError, match="bytes as JSON"):
        store.put("key", "x" * LARGEST)


def test_missing_value_is_the_default(store):
    assert (store.get("a"), store.get("a", 40), store.has("a"), store.forget("a")) == (None, 40, False, False)


def test_lifetime_ends_for_every_process(make_store):
    first, second = make_store(), make_store()
    first.put("short", 1, seconds=0.3)
    first.put("none", 1, seconds=0)
    first.put("long", 1, seconds=600)
    first.forever("always", 1)

    assert [second.get(key) for key in ("none", "long", "always")] == [None, 1, 1]
    assert 590 < second.seconds_left("long") <= 600
    assert second.seconds_left("always") is None
    end = time.monotonic() + 20
    while second.has("short"):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_put_is_seen_by_other_processes_at_once(make_store):
    first, second = make_store(), make_store()
    first.put("a", 1)
    assert second.get("a") == 1
    second.put("a", 2)
    assert first.get("a") == 2
    second.forget("a")
    assert first.get("a") is None


def test_add_returns_the_value_that_is_there(store):
    assert (store.add("a", 1), store.add("a", 2), store.get("a")) == (1, 1, 1)
    assert (store.add("b", None), store.add("b", 2)) == (None, None)


def test_increment_keeps_the_lifetime_and_takes_strings_of_digits(store):
    store.put("a", "21", seconds=600)

    assert (store.increment("a"), store.decrement("a", 3), store.increment("new", 5)) == (22, 19, 5)
    assert 590 < store.seconds_left("a") <= 600
    assert store.get("a") == 19


@pytest.mark.parametrize("value", ["text", 2.5, None, [1], True])
def test_increment_of_another_value_is_an_error(store, value):
    store.put("a", value)
    with pytest.raises(ValueError):
        store.increment("a")
    assert store.get("a") == value


def test_flush_removes_the_entries_of_this_store_alone(store, request, tmp_path):
    other = tmp_path / "cache" / "kept.txt"
    if isinstance(store, RedisStore):
        client = request.getfixturevalue("redis").client
        client.set("ordersX:cache:a", 1)  # the * of the prefix is literal
    store.put("a", 1)
    other.parent.mkdir(exist_ok=True)
    other.write_text("another program's")

    store.flush()

    assert not store.has("a")
    assert other.exists()
    if isinstance(store, RedisStore):
        assert client.exists("ordersX:cache:a")


def in_processes(make_store, work, processes=4, threads=4):
    """Call `work(store)` in threads of several processes, and return the results."""
    context, results = multiprocessing.get_context("fork"), multiprocessing.Queue()

    def run():
        store = make_store()
        with ThreadPoolExecutor(threads) as pool:
            found = [future.result() for future in [pool.submit(work, store) for _ in range(threads)]]
        results.put(found)

    running = [context.Process(target=run) for _ in range(processes)]
    for process in running:
        process.start()
    found = [result for _ in running for result in results.get(timeout=60)]
    for process in running:
        process.join(30)
    return found


def test_increment_is_atomic_over_threads_and_processes(make_store):
    counts = in_processes(make_store, lambda store: [store.increment("n") for _ in range(50)])

    assert sorted(number for each in counts for number in each) == list(range(1, 4 * 4 * 50 + 1))


def test_add_is_atomic_over_threads_and_processes(make_store):
    added = in_processes(make_store, lambda store: store.add("once", f"{os.getpid()} {threading.get_ident()}"))

    assert len(set(added)) == 1


def test_count_accepts_exactly_its_limit_over_threads_and_processes(make_store):
    counts = in_processes(make_store, lambda store: [store.count("limit", 100, 600).accepted for _ in range(50)])

    assert sum(accepted for each in counts for accepted in each) == 100


def test_remember_computes_once_over_threads_and_processes(make_store, tmp_path):
    def compute(store):
        with open(tmp_path / "computed", "a") as file:
            file.write("x")
        time.sleep(0.1)
        store.put("a", 0, 60)  # a false value is remembered too

    assert set(in_processes(make_store, lambda store: store.remember("a", compute))) == {0}
    assert (tmp_path / "computed").read_text() == "x"


def test_remember_computes_again_after_an_error(store):
    with pytest.raises(ZeroDivisionError):
        store.remember("a", lambda cache: cache.put("a", 1 // 0))

    assert store.remember("a", lambda cache: cache.put("a", 1)) == 1
    assert store.remember("b", lambda cache: None) is None


def test_count_begins_again_after_its_window(store):
    assert [store.count("n", 2, 0.4).accepted for _ in range(3)] == [True, True, False]
    end = time.monotonic() + 20
    while not store.count("n", 2, 0.4).accepted:
        assert time.monotonic() < end
        time.sleep(0.02)


def files_of(store):
    return [path for path in store._folder.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"[", b'["key"]', b'["other", 9e9, 1]', b'["key", "9", 1]', b"[" * 100_000, b"\xff"]
)
def test_corrupt_file_is_a_miss(tmp_path, content):
    store = FileStore("local", tmp_path)
    store.put("key", 1)
    (path,) = files_of(store)
    path.write_bytes(content)

    assert store.get("key", "default") == "default"
    assert store.increment("key") == 1
    assert store.count("key", 5, 60).accepted


def test_file_of_hostile_size_is_a_miss(tmp_path):
    store = FileStore("local", tmp_path)
    store.put("key", 1)
    (path,) = files_of(store)
    os.truncate(path, 50 * 2**30)  # sparse

    assert not store.has("key")


@pytest.mark.parametrize("prepare", ["lpush", "hset"])
def test_redis_entry_of_another_type_is_a_miss(redis, prepare):
    redis.client.flushall()
    store = RedisStore("redis", {"port": redis.port})
    arguments = ("cache:key", "a") if prepare == "lpush" else ("cache:key", "a", "b")
    getattr(redis.client, prepare)(*arguments)

    assert store.get("key", "default") == "default"
    assert store.count("key", 5, 60).accepted
    assert store.put("key", 2) == store.get("key")


def test_redis_entry_that_is_not_json_is_a_miss(redis):
    store = RedisStore("redis", {"port": redis.port})
    redis.client.set("cache:key", b"\xff{")

    assert not store.has("key")
    assert store.add("key", 1) == 1


def test_expired_files_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("zuplo_origin.services.cache_files._CLEAN_ONE_IN", 1)
    store = FileStore("local", tmp_path)
    for number in range(300):
        store.put(f"old {number}", 1, seconds=-1)
    for number in range(2000):
        store.put(f"new {number}", 1, seconds=60)

    assert len(files_of(store)) == 2000


def test_files_are_readable_by_their_owner_alone(tmp_path):
    store = FileStore("local", tmp_path / "cache")
    store.put("a", 1)

    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "cache").rglob("*")}
    assert modes == {0}


def test_file_system_that_fails_is_unavailable(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file, not a folder")
    store = FileStore("local", tmp_path / "cache")

    for operation in (lambda: store.put("a", 1), lambda: store.get("a"), lambda: store.increment("a")):
        with pytest.raises(CacheUnavailable):
            operation()
    assert [record.msg for record in caplog.records] == ["cache_unavailable"]  # once in a while, not for each request


def test_redis_that_hangs_is_unavailable_in_bounded_time():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)  # accepts, and never responds
        store = RedisStore("redis", {"port": listener.getsockname()[1]})
        began = time.monotonic()
        with pytest.raises(CacheUnavailable):
            store.get("a")
        first = time.monotonic() - began
        for operation in (lambda: store.get("a"), lambda: store.count("a", 1, 1), lambda: store.put("a", 1)):
            with pytest.raises(CacheUnavailable):
                operation()

    assert TIMEOUT * 0.9 <= first < 10
    assert time.monotonic() - began - first < 1  # no other operation waits during the pause


def test_redis_that_comes_back_is_used_again(redis, monkeypatch):
    monkeypatch.setattr("zuplo_origin.services.cache_redis.PAUSE", 0.05)
    store = RedisStore("redis", {"port": redis.port})
    store.put("a", 1)
    redis.stop()
    with pytest.raises(CacheUnavailable):
        store.get("a")
    redis.start()

    end = time.monotonic() + 20
    while True:
        try:
            assert store.put("a", 2) == store.get("a") == 2
            return
        except CacheUnavailable:
            assert time.monotonic() < end
            time.sleep(0.05)


# -- the providers ----------------------------------------------------------------------------------------------------


class ByAccount(Limiter):
    def allow(self, request):
        return Limit.per_minute(1).by(request.header("X-Account"))


class OwnLimits(Provider):
    def register(self):
        self.application.make("rate").register("account", ByAccount())


def limited(*specifications, stores=None):
    """Return an application with the route `/plain`, limited by `specifications`."""
    made = application(Route.get("/unlimited", EchoController.plain))
    made.make("middleware").add({"throttle": [ThrottleRequestsMiddleware], "jwt": [Declaration]})
    made.make("router").add(Route.get("/plain", EchoController.plain).middleware(*specifications))
    values = {"cache.stores": stores} if stores else {}
    made.bind("config", type("Config", (), {"get": lambda self, path, default=None: values.get(path, default)})())
    return made


def test_store_that_is_down_is_503_with_retry_after(tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    made = limited(
        "throttle:1/day", stores={"default": "a", "a": {"driver": "file", "location": str(tmp_path / "cache")}}
    )
    made.add_providers(CacheProvider, RateProvider)

    response = request(made, "GET", "/plain")

    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert response.json == {"error": "Service unavailable"}


def test_limit_is_keyed_by_anything(tmp_path):
    made = limited("throttle:account", stores={"default": "a", "a": {"driver": "file", "location": str(tmp_path)}})
    made.add_providers(CacheProvider, RateProvider, OwnLimits)

    def statuses(account):
        return [request(made, "GET", "/plain", {"X-Account": account} if account else {}).status for _ in range(2)]

    assert [statuses(account) for account in ("a", "b", "\u00e9", None)] == [[200, 429]] * 4


def test_limiter_counts_attempts_of_any_action(tmp_path):
    made = limited(stores={"default": "a", "a": {"driver": "file", "location": str(tmp_path)}})
    made.add_providers(CacheProvider, RateProvider)
    rate = made.make("rate")

    assert [rate.attempt("mail", lambda: "sent", 2) for _ in range(3)] == ["sent", "sent", False]
    assert (rate.attempts("mail"), rate.remaining("mail", 2), rate.too_many_attempts("mail", 2)) == (2, 0, True)
    assert 0 < rate.available_in("mail") <= 60
    assert abs(rate.available_at("mail") - time.time()) <= 61
    assert rate.hit("mail", 60) == 3
    rate.clear("mail")
    assert (rate.attempts("mail"), rate.available_in("mail"), rate.available_at("mail")) == (0, 0, 0)


@pytest.mark.parametrize(
    ("specification", "problem"),
    [
        ("throttle:30/fortnight", "expected a number and minute, hour or day"),
        ("throttle:-1/day", "expected a number and minute, hour or day"),
        ("throttle:1/day,2/day", "expected one limit"),
        ("throttle", "expected one limit"),
    ],
)
def test_invalid_limit_is_an_error_when_its_route_is_added(specification, problem):
    with pytest.raises(RouteError, match=problem):
        limited(specification)


@pytest.mark.parametrize(
    ("specifications", "providers", "sentence"),
    [
        (["throttle:premium"], 2, "/plain: throttle:premium: unknown limiter; expected one of caller"),
        (
            ["throttle:caller", "jwt"],
            2,
            "/plain: throttle:caller: expected after jwt, which verifies who the caller is",
        ),
        (["throttle:1/day"], 0, "throttle: needs CacheProvider and RateProvider"),
    ],
)
def test_limit_that_cannot_work_stops_the_start(specifications, providers, sentence, tmp_path, capsys):
    made = limited(*specifications, stores={"default": "a", "a": {"driver": "file", "location": str(tmp_path)}})

    with pytest.raises(SystemExit) as end:
        made.add_providers(*[CacheProvider, RateProvider][:providers])

    assert end.value.code == CANNOT_START
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stores", "problem"),
    [
        (None, "STORES not set"),
        ({"local": {"driver": "file", "location": "x"}}, "STORES not set"),
        ({"default": "other", "local": {"driver": "file", "location": "x"}}, "default: invalid value 'other'"),
        ({"default": "a", "a": {"driver": "memcached"}}, "a: invalid driver 'memcached'; expected file or redis"),
        ({"default": "a", "a": {"driver": "file"}}, "a: location not set"),
    ],
)
def test_invalid_stores_are_reported(stores, problem):
    (found,) = problems_of(stores)

    assert found.startswith("config/cache.py: ") and problem in found


def test_stores_of_masonites_skeleton_are_accepted():
    from masonite.skeleton.config.cache import STORES

    assert problems_of(STORES) == []


@pytest.mark.parametrize("limit", ["60", "60/second", "", "a/day"])
def test_invalid_limit_of_callers_is_an_error(limit):
    with pytest.raises(ValueError, match="expected a number"):
        CallerLimiter(limit)
