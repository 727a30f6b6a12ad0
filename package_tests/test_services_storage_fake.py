"""The fake of `storage` behaves as a disk of files does, writes nothing, and asserts on what was done."""

import io
import os
import threading

import pytest

from package_tests.support.service_project import service_application
from zuplo_origin.http.content import Upload
from zuplo_origin.services import StorageProvider

DISKS = {
    "default": "local",
    "local": {"driver": "file", "path": "storage/local"},
    "other": {"driver": "file", "path": "storage/other"},
    "s3": {"driver": "s3", "client": "c", "secret": "s", "bucket": "b"},
}


def upload(name, content=b"content"):
    return Upload(name, io.BytesIO(content), "application/octet-stream")


STEPS = [
    lambda disk: disk.put("logs/a.log", "b"),
    lambda disk: disk.append("logs/a.log", "c"),
    lambda disk: disk.prepend("logs/a.log", "ä"),
    lambda disk: disk.get("/logs/a.log"),
    lambda disk: disk.copy("/logs/a.log", "copies/b.log"),
    lambda disk: disk.move("logs/a.log", "moved/c.log"),
    lambda disk: (disk.exists("moved"), disk.missing("logs/a.log"), disk.exists("moved/c.log")),
    lambda disk: disk.get("logs/a.log"),
    lambda disk: disk.get("moved"),
    lambda disk: disk.put("moved/c.log/d", "x"),
    lambda disk: disk.put("moved", "x"),
    lambda disk: disk.get("moved/c.log/d"),
    lambda disk: disk.append("new/d.log", b"x"),
    lambda disk: disk.put("binary", b"\xff"),
    lambda disk: disk.get("binary"),
    lambda disk: disk.make_directory("folder"),
    lambda disk: disk.exists("folder"),
    lambda disk: disk.put("folder", "x"),
    lambda disk: disk.put_file("uploads", upload("../me.png"), name="me"),
    lambda disk: disk.put_file("", upload("me.tar.gz"), name="me"),
    lambda disk: disk.store(upload("a.txt")),
    lambda disk: disk.store(upload("a.txt"), name="logo"),
    lambda disk: disk.get_path("logo.txt"),
    lambda disk: [(file.name(), file.content) for file in disk.get_files()],
    lambda disk: [file.name() for file in disk.get_files("/uploads/")],
    lambda disk: disk.get_files("nowhere"),
    lambda disk: [getattr(disk.stream("logo.txt"), name)() for name in ("name", "path", "extension")],
    lambda disk: b"".join(disk.stream("logo.txt")),
    lambda disk: disk.stream("nowhere"),
    lambda disk: disk.copy("nowhere", "x"),
    lambda disk: disk.move("nowhere", "x"),
    lambda disk: disk.move("logo.txt", "logo.txt"),
    lambda disk: disk.delete("nowhere"),
    lambda disk: disk.delete("logo.txt"),
    lambda disk: disk.exists("logo.txt"),
    lambda disk: disk.put("../x", "x"),
    lambda disk: disk.get("link/secret"),
    lambda disk: disk.put("link/x", "x"),
    lambda disk: disk.store(upload("a.txt"), name="../x"),
]
"""Calls, one after the other, whose results must be the same."""


def result(call, disk):
    try:
        return call(disk)
    except Exception as error:
        return type(error)


@pytest.fixture
def application(tmp_path):
    return service_application(tmp_path, StorageProvider, filesystem={"disks": DISKS})


@pytest.fixture
def fake(application):
    return application.make("mock.storage")


def test_fake_does_what_a_disk_of_files_does(application, fake, tmp_path):
    (tmp_path / "storage/local").mkdir(parents=True)
    os.symlink(tmp_path, tmp_path / "storage/local/link")
    real = application.make("storage").disk("local")
    with application.scope():  # closes what was streamed
        for number, step in enumerate(STEPS):
            assert result(step, fake.disk("local")) == result(step, real), f"step {number}"


def test_fake_writes_nothing_and_needs_no_s3(fake, tmp_path):
    for disk in ("local", "s3"):
        fake.disk(disk).put("a", "x")
        assert fake.disk(disk).put_file("up", upload("b.png"), name="b") == "up/b.png"
    assert fake.disk("s3").store(upload("b.png"), name="c") == "c.png"
    fake.disk("s3").delete("nowhere")

    assert list(tmp_path.iterdir()) == []
    assert fake.files("s3") == ["a", "c.png", "up/b.png"] and fake.files() == fake.files("local") == ["a", "up/b.png"]


def test_fake_asserts_on_what_was_put_deleted_and_is_there(fake):
    fake.assertNothingPut().assertNothingDeleted().assertCount(0)
    disk = fake.disk()
    disk.put("a.txt", "1")
    disk.append("a.txt", "2")
    disk.put("b.txt", b"x")
    disk.delete("b.txt")
    disk.move("a.txt", "folder/c.txt")

    fake.assertPut("a.txt", 2).assertPut("/b.txt").assertDeleted("a.txt").assertDeleted("b.txt").assertMissing("b.txt")
    fake.assertExists("folder/c.txt", "12").assertExists("folder/c.txt", b"12", disk="local").assertCount(1)
    fake.assertCount(0, disk="other").assertMissing("folder/c.txt", disk="other")
    for wrong in (
        lambda: fake.assertExists("a.txt"),
        lambda: fake.assertExists("folder"),
        lambda: fake.assertExists("folder/c.txt", "1"),
        lambda: fake.assertExists("folder/c.txt", disk="other"),
        lambda: fake.assertMissing("folder/c.txt"),
        lambda: fake.assertCount(2),
        lambda: fake.assertPut("d.txt"),
        lambda: fake.assertPut("a.txt", 1),
        lambda: fake.assertDeleted("folder/c.txt"),
        lambda: fake.assertDeleted("never.txt"),
        fake.assertNothingPut,
        fake.assertNothingDeleted,
    ):
        with pytest.raises(AssertionError):
            wrong()


def test_file_that_was_written_again_is_not_deleted(fake):
    fake.disk().put("a", "1")
    fake.disk().delete("a")
    fake.disk().put("a", "2")

    with pytest.raises(AssertionError, match=r"There is a: the disk local has \['a'\]"):
        fake.assertDeleted("a")


def test_fake_has_the_disks_of_the_configuration(fake):
    with pytest.raises(ValueError, match="no disk 'nowhere'"):
        fake.disk("nowhere")
    with pytest.raises(ValueError, match="no disk 'nowhere'"):
        fake.assertExists("a", disk="nowhere")


def test_fake_forgets_all_files_when_it_is_used_again(fake):
    fake.disk().put("a", "1")
    fake.reset()

    fake.assertNothingPut().assertMissing("a")


def test_writers_at_once_lose_nothing(fake):
    def write(number):
        for _ in range(50):
            fake.disk("other").append("a", f"a{number}\n")
            fake.disk("other").prepend("a", f"p{number}\n")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = fake.disk("other").get("a").splitlines()
    assert sorted(lines) == sorted(f"{kind}{number}" for kind in "ap" for number in range(6) for _ in range(50))
