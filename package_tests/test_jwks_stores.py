"""Stores that misbehave: what others own or can write to, and servers that are slow, huge or wrong."""

import fcntl
import os
import socket
import stat
import threading
import time
from contextlib import suppress

import pytest

from package_tests.support.clock import poll
from package_tests.support.redis import RedisServer
from zuplo_origin.jwks.redis_store import RedisError, RedisStore
from zuplo_origin.jwks.stores import BoundedStore, FileStore, StoreDown, UnsafeStore


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "jwks"
    made.mkdir(mode=0o700)
    return made


def all_operations(store):
    return [
        lambda: store.get("a", 9),
        lambda: store.put("a", b"1", 60),
        lambda: store.add("a", b"1", 60),
        lambda: store.delete("a"),
    ]


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_folder_that_others_can_write_to_is_not_used(folder, mode):
    folder.chmod(mode)
    for operation in all_operations(FileStore(folder)):
        with pytest.raises(UnsafeStore, match="other users can write to"):
            operation()
    assert list(folder.iterdir()) == []


def test_folder_of_another_user_is_not_used(folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for operation in all_operations(FileStore(folder)):
        with pytest.raises(UnsafeStore, match="belongs to user"):
            operation()


@pytest.mark.parametrize("kind", ["link", "file", "fifo"])
def test_folder_that_is_none_is_not_used(folder, kind):
    path = folder / "x"
    if kind == "link":
        (folder / "real").mkdir()
        path.symlink_to(folder / "real")
    elif kind == "file":
        path.write_text("kept")
    else:
        os.mkfifo(path)
    for operation in all_operations(FileStore(path)):
        with pytest.raises((UnsafeStore, OSError)):
            operation()
    assert path.is_symlink() or stat.S_ISFIFO(path.stat().st_mode) or path.read_text() == "kept"


@pytest.mark.parametrize("name", ["a", "lock"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "folder", "shared"])
def test_file_that_is_not_this_users_regular_file_is_not_opened(folder, tmp_path, name, kind):
    path, victim = folder / name, tmp_path / "victim"
    victim.write_text("kept")
    victim.chmod(0o600)
    os.utime(victim, (time.time() + 600,) * 2)
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "new")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("kept")
        path.chmod(0o666)
    began = time.monotonic()
    with pytest.raises(UnsafeStore):
        FileStore(folder).add("a", b"1", 60)

    assert time.monotonic() - began < 2
    assert victim.read_text() == "kept" and not (tmp_path / "new").exists()
    assert kind != "shared" or path.read_text() == "kept"


def test_put_replaces_a_link_and_never_writes_through_it(folder, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (folder / "a").symlink_to(victim)
    store = FileStore(folder)
    store.put("a", b"1", 60)

    assert victim.read_text() == "kept" and store.get("a", 9) == b"1" and not (folder / "a").is_symlink()


def test_lock_that_another_process_keeps_is_given_up(folder):
    store = FileStore(folder)
    assert store.add("a", b"1", 60)
    with open(folder / "lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            store.add("b", b"1", 60)
        assert time.monotonic() - began < 3
    assert store.add("b", b"1", 60)


def test_unsafe_folder_is_logged_with_what_to_change(folder, caplog):
    folder.chmod(0o777)
    with pytest.raises(StoreDown):
        BoundedStore(FileStore(folder)).get("a", 9)

    (line,) = [record.getMessage() for record in caplog.records]
    assert f"UnsafeStore: other users can write to {folder}: remove the permission (chmod go-w)" in line


def test_temporary_files_do_not_stay(folder):
    store = FileStore(folder)
    for n in range(20):
        store.put("a", b"x" * n, 60)

    assert sorted(path.name for path in folder.iterdir()) == ["a"]


# -- Redis ------------------------------------------------------------------------------------------------------------


class FakeServer:
    """A server that sends ``reply`` to each command, or what a function of the connection does."""

    def __init__(self, reply):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"
        self.connections, self.received = 0, []
        self._reply = reply
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection):
        with suppress(OSError), connection:
            while received := connection.recv(65536):
                self.received.append(received)
                if callable(self._reply):
                    self._reply(connection)
                else:
                    connection.sendall(self._reply)


def drip(connection):
    connection.sendall(b"$100\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def flood(connection):
    while True:
        connection.sendall(b"x" * 65536)


REPLIES = {
    "a huge announcement": b"$999999999999\r\n" + b"x" * 100_000,
    "more than was asked for": b"$10\r\nxxxxxxxxxx\r\n",
    "a list": b"*1000000\r\n",
    "an error": b"-NOAUTH Authentication required.\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a size that is no number": b"$x\r\n",
    "an endless line": flood,
    "dripping": drip,
    "silence": lambda connection: time.sleep(2),
    "an end": lambda connection: connection.shutdown(socket.SHUT_RDWR),
}


@pytest.mark.parametrize("name", REPLIES)
def test_reply_is_limited_in_size_and_time(name):
    with FakeServer(REPLIES[name]) as server:
        store = RedisStore(server.url)
        began = time.monotonic()
        with pytest.raises((RedisError, OSError, EOFError)):
            store.get("a", 9)
        assert time.monotonic() - began < 1.5


def test_store_that_drips_leaves_no_thread_behind():
    with FakeServer(drip) as server:
        bounded = BoundedStore(RedisStore(server.url))
        for _ in range(3):
            with pytest.raises(StoreDown):
                bounded.get("a", 200)
            bounded._down_until = None
        poll(lambda: bounded._hanging is None or bounded._hanging.done())
    workers = [thread for thread in threading.enumerate() if thread is bounded._worker]
    assert len(workers) == 1


def test_null_and_empty_replies_are_no_value():
    for reply in (b"$-1\r\n", b"$0\r\n\r\n"):
        with FakeServer(reply) as server:
            assert RedisStore(server.url).get("a", 9) is None


def test_operations_leave_no_connection_open(tmp_path):
    with RedisServer(tmp_path) as redis:
        store = RedisStore(redis.url)
        store.put("a", b"1", 60)
        assert store.get("a", 9) == b"1"
        poll(lambda: redis.client.info("clients")["connected_clients"] == 1)


def test_password_user_and_database_are_used(tmp_path):
    with RedisServer(tmp_path) as redis:
        redis.client.acl_setuser("someone", enabled=True, passwords=["+p@ss"], keys=["*"], commands=["+@all"])
        redis.client.config_set("requirepass", "pass word")
        host = redis.url.removeprefix("redis://").removesuffix("/0")
        for credentials in (":pass%20word@", "someone:p%40ss@"):
            RedisStore(f"redis://{credentials}{host}/3").put("a", credentials.encode(), 60)
            assert RedisStore(f"redis://{credentials}{host}/3").get("a", 99) == credentials.encode()
            assert RedisStore(f"redis://{credentials}{host}/2").get("a", 99) is None
        for credentials in ("", ":wrong@", "someone:wrong@"):
            with pytest.raises(RedisError):
                RedisStore(f"redis://{credentials}{host}/3").get("a", 99)


def test_value_may_have_any_bytes(tmp_path):
    value = bytes(range(256)) * 1000
    with RedisServer(tmp_path) as redis:
        store = RedisStore(redis.url)
        store.put("a\r\nb", value, 60)
        assert store.get("a\r\nb", 300_000) == value and store.get("a\r\nb", 3) == b"\0\1\2"
