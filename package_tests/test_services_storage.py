"""Storage and uploads: disks, names, paths, and writers at once."""

import io
import os
import threading
from pathlib import Path

import pytest
from masonite.controllers import Controller
from masonite.filesystem import Storage
from masonite.request import Request
from masonite.response import Response
from masonite.routes import Route

from package_tests.support.service_project import service_application
from package_tests.support.wsgi_client import request
from zuplo_origin.http.content import Upload
from zuplo_origin.services import StorageProvider
from zuplo_origin.services import storage as module
from zuplo_origin.services.storage import InvalidPath, chunks_of

DISKS = {
    "default": "local",
    "local": {"driver": "file", "path": "storage/local"},
    "other": {"driver": "file", "path": "storage/other"},
    "s3": {"driver": "s3", "client": "c", "secret": "s", "bucket": "b"},
}


class FileController(Controller):
    def upload(self, request: Request, storage: Storage):
        upload = request.input("file")
        disk = storage.disk()
        return {"path": disk.put_file("uploads", upload), "stored": disk.store(upload), "name": upload.filename}

    def download(self, request: Request, response: Response, storage: Storage):
        return response.stream(storage.disk("local").stream(request.query("path")), "text/csv")

    def read(self, request: Request, storage: Storage):
        return {"content": storage.disk().get(request.query("path"))}


@pytest.fixture
def application(tmp_path):
    made = service_application(tmp_path, StorageProvider, filesystem={"disks": DISKS})
    made.make("router").add(
        Route.post("/upload", FileController.upload),
        Route.get("/download", FileController.download),
        Route.get("/read", FileController.read),
    )
    return made


@pytest.fixture
def storage(application):
    return application.make("storage")


@pytest.fixture
def disk(storage):
    return storage.disk("local")


def upload(name, content=b"content"):
    return Upload(name, io.BytesIO(content), "application/octet-stream")


def test_two_disks_are_open_at_once(storage, tmp_path):
    first, second = storage.disk("local"), storage.disk("other")
    first.put("a.txt", "first")
    second.put("a.txt", b"second")

    assert (first.get("a.txt"), second.get("a.txt"), storage.disk().get("a.txt")) == ("first", "second", "first")
    assert (tmp_path / "storage/other/a.txt").read_bytes() == b"second"


def test_files_are_written_read_moved_and_removed(disk):
    assert disk.put("logs/a.log", "b") == "b" and disk.exists("logs/a.log") and disk.missing("logs/b.log")
    assert disk.append("logs/a.log", "c") == "c" and disk.prepend("logs/a.log", "ä") == "äbc"
    disk.copy("/logs/a.log", "copies/b.log")
    disk.move("logs/a.log", "moved/c.log")
    assert disk.get("copies/b.log") == disk.get("/moved/c.log") == "äbc" and disk.missing("logs/a.log")
    disk.delete("moved/c.log")
    assert disk.get("moved/c.log") is None and disk.get("moved") is None
    disk.append("new/d.log", b"x")
    disk.make_directory("folder")
    disk.put("folder/binary", b"\xff")
    assert disk.get("folder/binary") == b"\xff"
    assert [(file.name(), file.content) for file in disk.get_files("folder")] == [("binary", b"\xff")]
    assert disk.get_files() == [] and disk.get_files("nowhere") == []


PATHS = [
    "",
    "/",
    ".",
    "..",
    "../secret",
    "a/../../secret",
    "a/..",
    "a/../b",
    "./a",
    "a//b",
    "..\\secret",
    "a\0b",
    "a\nb",
    "\ud800",
    "a" * 256,
    "a/" * 2000 + "a",
    "link/secret",
    "link",
]


@pytest.mark.parametrize(
    "act",
    [
        lambda disk, path: disk.put(path, "x"),
        lambda disk, path: disk.get(path),
        lambda disk, path: disk.exists(path),
        lambda disk, path: disk.stream(path),
        lambda disk, path: disk.delete(path),
        lambda disk, path: disk.append(path, "x"),
        lambda disk, path: disk.prepend(path, "x"),
        lambda disk, path: disk.copy("here", path),
        lambda disk, path: disk.copy(path, "there"),
        lambda disk, path: disk.move("here", path),
        lambda disk, path: disk.move(path, "there"),
        lambda disk, path: disk.make_directory(path),
        lambda disk, path: disk.store(upload("a.txt"), name=f"../{path}"),
        lambda disk, path: disk.put_file(f"../{path}", upload("a.txt")),
        lambda disk, path: disk.put_file("a", upload("a.txt"), name=f"../../{path}"),
    ],
)
def test_paths_do_not_leave_the_disk(disk, tmp_path, act):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    disk.put("here", "here")
    os.symlink(tmp_path / "outside", tmp_path / "storage/local/link")
    for path in PATHS:
        with pytest.raises(InvalidPath):
            act(disk, path)

    assert os.listdir(tmp_path / "outside") == ["secret"] and disk.get("here") == "here"


def test_path_of_a_client_that_leaves_the_disk_is_400(application):
    response = request(application, "GET", "/read?path=../../etc/passwd")

    assert (response.status, response.json) == (400, {"error": "Bad request"})


def test_file_below_a_file_or_in_the_place_of_a_folder_is_an_error(disk):
    disk.put("a/b", "x")
    for path in ("a/b/c", "a"):
        with pytest.raises(InvalidPath):
            disk.put(path, "x")

    assert disk.get("a/b/c") is None and [file.name() for file in disk.get_files("a")] == ["b"]


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("photo.png", ".png"),
        ("PHOTO.JPG", ".JPG"),
        ("a.tar.gz", ".tar.gz"),
        ("../../etc/passwd", ""),
        ("..", ""),
        ("a.b/../../x", ""),
        ("a.p\0ng", ""),
        ("a.png\n", ""),
        ("a.%2e%2e", ""),
        ("a." + "x" * 300, ""),
        ("a.ph p", ""),
        ("noextension", ""),
        ("", ""),
        ("é.pdf", ".pdf"),
    ],
)
def test_names_of_clients_do_not_become_paths(disk, tmp_path, name, extension):
    path = disk.put_file("uploads", upload(name))
    stored = disk.store(upload(name))

    folder, _, file = path.partition("/")
    assert folder == "uploads" and len(file) == 36 + len(extension) and file.endswith(extension)
    assert os.path.dirname(stored) == str(tmp_path / "storage/local") and os.path.basename(stored).endswith(extension)
    assert disk.get(path) == Path(stored).read_text() == "content"
    assert disk.put_file("uploads", upload(name), name="user1") == f"uploads/user1{extension}"
    assert disk.put_file("", upload(name), name="user1") == f"user1{extension}"
    assert os.path.basename(disk.store(upload(name), name="logo")) == f"logo{extension}"


def test_uploaded_file_is_stored_under_a_generated_name(application, tmp_path):
    boundary = "b"
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="../../x.png"\r\n'
            f"Content-Type: image/png\r\n\r\n"
        ).encode()
        + b"\x89PNG" * 500_000
        + f"\r\n--{boundary}--\r\n".encode()
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    application.make("router").routes[0].body_limit = 4_000_000
    response = request(application, "POST", "/upload", headers, body)

    assert response.status == 200, response.body
    for path in (tmp_path / "storage/local" / response.json["path"], response.json["stored"]):
        with open(path, "rb") as file:
            assert file.read() == b"\x89PNG" * 500_000


def test_file_is_streamed_and_closed(application, disk):
    disk.put("report.csv", "a,b\n" * 50_000)
    response = request(application, "GET", "/download?path=report.csv")

    assert (response.status, response.headers["content-type"]) == (200, "text/csv")
    assert response.body == b"a,b\n" * 50_000
    with application.scope():
        stream = disk.stream("report.csv")
        assert (stream.name(), stream.extension(), stream.read(3)) == ("report.csv", ".csv", b"a,b")
    assert stream.stream.closed


def test_readers_see_a_whole_file_while_it_is_written(disk):
    disk.put("a", "0" * 200_000)
    stop, seen = threading.Event(), set()

    def read():
        while not stop.is_set():
            seen.add(disk.get("a"))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(60):
        disk.put("a", str(number % 10) * 200_000)
    stop.set()
    for reader in readers:
        reader.join()

    assert {len(text) for text in seen} == {200_000} and all(len(set(text)) == 1 for text in seen)
    assert [file.name() for file in disk.get_files()] == ["a"]


def test_writers_that_append_and_prepend_at_once_lose_nothing(storage):
    def write(number):
        for _ in range(20):
            storage.disk("local").append("a", f"a{number}\n")
            storage.disk("local").prepend("a", f"p{number}\n")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = storage.disk("local").get("a").splitlines()
    assert sorted(lines) == sorted(f"{kind}{number}" for kind in "ap" for number in range(6) for _ in range(20))


def test_failed_write_leaves_the_old_file_and_nothing_else(disk, tmp_path):
    class Breaks:
        def read(self, size):
            raise OSError("disk full")

    disk.put("a", "old")
    with pytest.raises(OSError, match="disk full"):
        disk.put("a", Breaks())

    assert disk.get("a") == "old" and os.listdir(tmp_path / "storage/local") == ["a"]


def test_content_is_bytes_text_files_or_uploads():
    for content in ("ä", "ä".encode(), io.BytesIO("ä".encode()), io.StringIO("ä"), upload("a", "ä".encode())):
        assert b"".join(chunks_of(content)) == "ä".encode()


def test_unknown_disk_is_an_error(storage):
    with pytest.raises(ValueError, match="no disk 'nowhere'"):
        storage.disk("nowhere")


def test_s3_needs_boto3(storage, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="s3 needs boto3: add it to"):
        storage.disk("s3").put("a", "b")
    with pytest.raises(SystemExit):
        service_application(tmp_path, StorageProvider, filesystem={"disks": DISKS | {"default": "s3"}})
    assert "the default disk is in S3, which needs boto3" in capsys.readouterr().err


def test_missing_default_disk_stops_the_start(tmp_path, capsys):
    with pytest.raises(SystemExit):
        service_application(tmp_path, StorageProvider, filesystem={"disks": DISKS | {"default": "nowhere"}})
    assert capsys.readouterr().err == "Cannot start: config/filesystem.py: DISKS has no disk 'nowhere', its default\n"


def test_disk_without_a_path_stops_the_start(tmp_path, capsys):
    with pytest.raises(SystemExit):
        service_application(tmp_path, StorageProvider, filesystem={"disks": DISKS | {"bad": {"driver": "file"}}})
    assert capsys.readouterr().err == "Cannot start: config/filesystem.py: the disk 'bad' has no path\n"
