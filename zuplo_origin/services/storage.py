"""Storage: disks whose files cannot leave their folder. What a client calls a file never becomes a path."""

import os
import re
import secrets
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from masonite.filesystem import File
from masonite.filesystem import Storage as MasoniteStorage
from masonite.filesystem.drivers import AmazonS3Driver as MasoniteS3Driver
from masonite.filesystem.drivers import LocalDriver as MasoniteLocalDriver
from masonite.filesystem.FileStream import FileStream as MasoniteFileStream
from masonite.utils.filesystem import get_extension

from zuplo_origin.http.errors import HttpException
from zuplo_origin.http.kernel import Provider

from .common import read, stop

CHUNK = 65536
_PART = ".part-"
"""The beginning of the name of a file that is being written."""
_EXTENSION = re.compile(r"(\.[A-Za-z0-9]{1,10}){1,2}")
_LONGEST_NAME = 255 - len(_PART) - 16
"""Bytes of a name: file systems have 255, and a file that is being written has a longer name."""


class InvalidPath(HttpException, ValueError):
    """A path that leaves the disk, or that no file can have. Responded to with 400 if a request sent it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(400, reason=f"the path {path[:80]!r} {why}")

    def __str__(self) -> str:
        return str(self.reason)


def relative(path: str) -> str:
    """Return ``path`` without slashes at its ends. Raises ``InvalidPath`` if it is empty or leaves the disk."""
    text = str(path).strip("/")
    parts = text.split("/")
    if not text or any(part in ("", ".", "..") for part in parts) or "\\" in text:
        raise InvalidPath(text, "is empty, or has an empty part, `.`, `..` or a backslash")
    try:
        too_long = any(len(part.encode()) > _LONGEST_NAME for part in parts) or len(text) > 3000
    except UnicodeEncodeError:
        too_long = True
    if too_long or any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise InvalidPath(text, "is too long, or has a control character")
    return text


def extension_of(content: Any) -> str:
    """Return the extension of an upload's name if it is a plain one, such as ``.png`` or ``.tar.gz``; or nothing."""
    name = content.name() if callable(content.name) else content.name
    found = str(get_extension(str(name)))
    return found if _EXTENSION.fullmatch(found) else ""


def generated_name(content: Any, name: str | None = None) -> str:
    """Return ``name``, or a random name, with the extension of ``content``."""
    return f"{name or uuid.uuid4()}{extension_of(content)}"


def chunks_of(content: Any) -> Iterator[bytes]:
    """Yield the bytes of an upload, a file, ``bytes`` or a string (as UTF-8)."""
    if hasattr(content, "stream"):
        content = content.stream() if callable(content.stream) else content.stream
    elif hasattr(content, "get_content"):
        content = content.get_content()
    if isinstance(content, str):
        yield content.encode()
    elif isinstance(content, bytes | bytearray | memoryview):
        yield bytes(content)
    else:
        while chunk := content.read(CHUNK):
            yield chunk.encode() if isinstance(chunk, str) else chunk


class FileStream(MasoniteFileStream):
    """A file of a disk, to read or to send: ``response.stream(storage.disk().stream("report.csv"), "text/csv")``."""

    def __iter__(self) -> Iterator[bytes]:
        with self.stream:
            while chunk := self.stream.read(CHUNK):
                yield chunk

    def read(self, size: int = -1) -> bytes:
        return self.stream.read(size)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.stream.close()


class LocalDriver(MasoniteLocalDriver):
    """Masonite's driver ``file``. A file is written under another name and then renamed: readers see all of it."""

    def root(self) -> str:
        """Return the folder of the disk: ``path`` in ``config/filesystem.py``, in the project if it is relative."""
        return str(os.path.realpath(os.path.join(self.application.base_path, self.options["path"])))

    def get_path(self, path: str) -> str:
        """Return the absolute path of a file. Raises ``InvalidPath`` if it leaves the disk, by a link too."""
        root = self.root()
        found = os.path.realpath(os.path.join(root, relative(path)))
        if os.path.commonpath([root, found]) != root or found == root:
            raise InvalidPath(path, "is a link that leaves the disk")
        return str(found)

    def put(self, file_path: str, content: Any) -> Any:
        """Write ``content`` (``bytes``, a string, a file or an upload), and return it."""
        with self._writing(self.get_path(file_path)) as file:
            for chunk in chunks_of(content):
                file.write(chunk)
        return content

    @contextmanager
    def _writing(self, path: str) -> Iterator[IO[bytes]]:
        folder, name = os.path.split(path)
        try:
            os.makedirs(folder, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InvalidPath(path.removeprefix(self.root()), "is below a file") from None
        part = os.path.join(folder, f"{_PART}{secrets.token_hex(6)}-{name}")
        try:
            with open(part, "xb") as file:
                yield file
            try:
                os.replace(part, path)
            except IsADirectoryError:
                raise InvalidPath(path.removeprefix(self.root()), "is a folder") from None
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)

    def put_file(self, file_path: str, content: Any, name: str | None = None) -> str:
        """Write an upload into a folder, and return its path there: ``name`` or a UUID, with its extension."""
        file = generated_name(content, name)
        path = relative(os.path.join(file_path, file)) if str(file_path).strip("/") else relative(file)
        self.put(path, content)
        return path

    def store(self, file: Any, name: str | None = None) -> str:
        """Write an upload, and return its absolute path. Its name is ``name``, or the SHA-256 of its content."""
        path = self.get_path(f"{name or file.hash_name()}{extension_of(file)}")
        with self._writing(path) as target:
            for chunk in chunks_of(file):
                target.write(chunk)
        return path

    def get(self, file_path: str) -> str | bytes | None:
        """Return the content, as ``bytes`` if it is not UTF-8; ``None`` if there is no such file."""
        try:
            content = Path(self.get_path(file_path)).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content

    def exists(self, file_path: str) -> bool:
        return os.path.exists(self.get_path(file_path))

    def stream(self, file_path: str) -> FileStream:
        """Return the file, opened. It is closed when it has been sent, or at the end of the request or job.

        Raises ``FileNotFoundError``.
        """
        file = open(self.get_path(file_path), "rb")  # noqa: SIM115
        if (scope := self.application.current_scope()) is not None:
            scope.at_end(file.close)
        return FileStream(file)

    def copy(self, from_file_path: str, to_file_path: str) -> str:
        """Copy a file of this disk, and return the absolute path of the copy."""
        target = self.get_path(to_file_path)
        with open(self.get_path(from_file_path), "rb") as source, self._writing(target) as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
        return target

    def move(self, from_file_path: str, to_file_path: str) -> str:
        """Move a file within this disk, and return its new absolute path."""
        target = self.get_path(to_file_path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(self.get_path(from_file_path), target)
        return target

    def prepend(self, file_path: str, content: str | bytes) -> str | bytes:
        """Write ``content`` before what the file has, and return all of it."""
        path = self.get_path(file_path)
        with self._locked(path):
            before = Path(path).read_bytes() if os.path.exists(path) else b""
            joined = b"".join(chunks_of(content)) + before
            self.put(file_path, joined)
        return joined.decode() if isinstance(content, str) else joined

    def append(self, file_path: str, content: str | bytes) -> str | bytes:
        """Write ``content`` after what the file has, and return ``content``."""
        path = self.get_path(file_path)
        with self._locked(path), open(path, "ab") as file:
            file.write(b"".join(chunks_of(content)))
        return content

    @contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        """Let no other thread or process append or prepend in the folder of ``path`` meanwhile."""
        import fcntl

        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        number = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)

    def delete(self, file_path: str) -> None:
        """Remove a file. Raises ``FileNotFoundError``."""
        os.remove(self.get_path(file_path))

    def make_directory(self, directory: str) -> None:
        os.makedirs(self.get_path(directory), exist_ok=True)

    def make_file_path_if_not_exists(self, file_path: str) -> bool:
        os.makedirs(os.path.dirname(file_path), exist_ok=True)
        return not os.path.isfile(file_path)

    def get_files(self, directory: str = "") -> list[File]:
        """Return the files of a folder, without those of the folders in it."""
        folder = self.get_path(directory) if directory.strip("/") else self.root()
        if not os.path.isdir(folder):
            return []
        names = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(_PART)
        )
        return [File(Path(folder, name).read_bytes(), name) for name in names]


class S3Connection:
    """A session of boto3 whose resources are made once: each takes a third of a second."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._resources: dict[str, Any] = {}

    def resource(self, name: str) -> Any:
        if name not in self._resources:
            self._resources[name] = self._session.resource(name)
        return self._resources[name]


class S3Driver(MasoniteS3Driver):
    """Masonite's driver ``s3``, with names that clients cannot choose. It needs the package boto3."""

    def __init__(self, application: Any) -> None:
        super().__init__(application)
        self._of_thread = threading.local()  # shared by all copies: a resource of boto3 is not safe under threads

    def get_connection(self) -> Any:
        """Return this thread's connection to the account of the disk."""
        if find_spec("boto3") is None:
            raise ModuleNotFoundError("the disk driver s3 needs boto3: add it to requirements.in")
        connections = self._of_thread.__dict__.setdefault("connections", {})
        account = tuple(self.options.get(name) for name in ("client", "secret", "region"))
        if account not in connections:
            self.connection = None
            connections[account] = S3Connection(super().get_connection())
        return connections[account]

    def get_name(self, path: str, alias: str) -> str:
        extension = get_extension(path)
        return f"{alias}{extension if _EXTENSION.fullmatch(extension) else ''}"

    def put(self, file_path: str, content: Any) -> Any:
        super().put(relative(file_path), b"".join(chunks_of(content)))
        return content

    def put_file(self, file_path: str, content: Any, name: str | None = None) -> str:
        """Write an upload under the prefix ``file_path``, and return its key."""
        key = relative(os.path.join(file_path, generated_name(content, name)))
        self.put(key, content)
        return key

    def store(self, file: Any, name: str | None = None) -> str:
        """Write an upload, and return its key: ``name``, or the SHA-256 of its content."""
        key = relative(f"{name or file.hash_name()}{extension_of(file)}")
        self.put(key, file)
        return key


class Storage(MasoniteStorage):
    """Masonite's ``Storage``, bound as ``storage``: each call of ``disk`` returns a driver of its own."""

    def disk(self, name: str = "default") -> Any:
        """Return the disk ``name`` of ``config/filesystem.py``. Raises ``ValueError`` if there is none."""
        options = self.get_config_options(name)
        if not isinstance(options, dict):
            raise ValueError(f"there is no disk {name!r} in config/filesystem.py")
        driver = self.drivers.get(str(options.get("driver")))
        if driver is None:
            raise ValueError(
                f"disk {name!r}: there is no driver {options.get('driver')!r}, but {', '.join(self.drivers)}"
            )
        return copy(driver).set_options(dict(options))


class StorageProvider(Provider):
    """Binds ``storage``, with the disks of ``config/filesystem.py``, and its fake for tests."""

    def problems_at_start(self) -> Iterator[str]:
        storage = self.application.make("storage")
        for name, disk in storage.store_config.items():
            if isinstance(disk, dict) and disk.get("driver") not in storage.drivers:
                found, known = str(disk.get("driver"))[:80], " or ".join(storage.drivers)
                yield f"config/filesystem.py: {name}: invalid driver {found!r}; expected {known}"

    def register(self) -> None:
        disks = read(self.application, "filesystem.disks")
        default = disks.get(str(disks.get("default")))
        if not isinstance(default, dict):
            stop(f"config/filesystem.py: DISKS has no disk {disks.get('default')!r}, its default")
        if default.get("driver") == "s3" and find_spec("boto3") is None:
            stop("config/filesystem.py: the default disk is in S3, which needs boto3; add it to requirements.in")
        for name, disk in disks.items():
            if name != "default" and not isinstance(disk, dict):
                stop(f"config/filesystem.py: {name}: invalid value {str(disk)[:80]!r}; expected a dict of options")
            if isinstance(disk, dict) and disk.get("driver") == "file" and not isinstance(disk.get("path"), str):
                stop(f"config/filesystem.py: the disk {name!r} has no path")
        storage = Storage(self.application).set_configuration(disks)
        storage.add_driver("file", LocalDriver(self.application))
        storage.add_driver("s3", S3Driver(self.application))
        self.application.bind("storage", storage)
        from .storage_fake import MockStorage

        self.application.bind("mock.storage", MockStorage(storage))
