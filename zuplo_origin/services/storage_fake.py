"""The fake of ``storage`` in tests: disks in memory, and assertions on what was put, deleted and is there."""

import io
import threading
from typing import Any

from masonite.filesystem import File

from .storage import FileStream, InvalidPath, LocalDriver, Storage, chunks_of, extension_of, relative


class _Opened(io.BytesIO):
    name: str


class MemoryDriver(LocalDriver):
    """A disk in memory. Paths, names and errors are those of the disk that it replaces."""

    def __init__(self, application: Any, name: str) -> None:
        super().__init__(application)
        self.name = name
        self.lock = threading.RLock()  # guards what follows
        self.files: dict[str, bytes] = {}
        self.folders: set[str] = set()
        self.written: list[str] = []
        self.deleted: list[str] = []

    def _place(self, key: str) -> str:
        """Return the absolute path of the file on a disk of files; its key in S3."""
        return self.get_path(key) if "path" in self.options else key

    def _key(self, path: str) -> str:
        key = relative(path)
        self._place(key)  # raises `InvalidPath` for a link that leaves the disk
        return key

    def _is_folder(self, key: str) -> bool:
        return key in self.folders or any(each.startswith(f"{key}/") for each in self.files)

    def _write(self, path: str, content: bytes) -> str:
        key = self._key(path)
        parts = key.split("/")
        with self.lock:
            if any("/".join(parts[:end]) in self.files for end in range(1, len(parts))):
                raise InvalidPath(path, "is below a file")
            if self._is_folder(key):
                raise InvalidPath(path, "is a folder")
            self.files[key] = content
            self.written.append(key)
        return key

    def _read(self, path: str) -> bytes:
        try:
            return self.files[self._key(path)]
        except KeyError:
            raise FileNotFoundError(2, "No such file", path) from None

    def put(self, file_path: str, content: Any) -> Any:
        self._write(file_path, b"".join(chunks_of(content)))
        return content

    def store(self, file: Any, name: str | None = None) -> str:
        key = self._write(f"{name or file.hash_name()}{extension_of(file)}", b"".join(chunks_of(file)))
        return self._place(key)

    def get(self, file_path: str) -> str | bytes | None:
        content = self.files.get(self._key(file_path))
        try:
            return None if content is None else content.decode()
        except UnicodeDecodeError:
            return content

    def exists(self, file_path: str) -> bool:
        key = self._key(file_path)
        return key in self.files or self._is_folder(key)

    def stream(self, file_path: str) -> FileStream:
        file = _Opened(self._read(file_path))
        file.name = self._place(relative(file_path))
        if (scope := self.application.current_scope()) is not None:
            scope.at_end(file.close)
        return FileStream(file)

    def copy(self, from_file_path: str, to_file_path: str) -> str:
        return self._place(self._write(to_file_path, self._read(from_file_path)))

    def move(self, from_file_path: str, to_file_path: str) -> str:
        with self.lock:
            source, target = relative(from_file_path), self._write(to_file_path, self._read(from_file_path))
            if source != target:
                self._remove(source)
        return self._place(target)

    def prepend(self, file_path: str, content: str | bytes) -> str | bytes:
        with self.lock:
            joined = b"".join(chunks_of(content)) + self.files.get(self._key(file_path), b"")
            self._write(file_path, joined)
        return joined.decode() if isinstance(content, str) else joined

    def append(self, file_path: str, content: str | bytes) -> str | bytes:
        with self.lock:
            self._write(file_path, self.files.get(self._key(file_path), b"") + b"".join(chunks_of(content)))
        return content

    def delete(self, file_path: str) -> None:
        with self.lock:
            if self.options.get("driver") != "s3":  # which deletes what is not there
                self._read(file_path)
            self._remove(self._key(file_path))

    def _remove(self, key: str) -> None:
        if self.files.pop(key, None) is not None:
            self.deleted.append(key)

    def make_directory(self, directory: str) -> None:
        self.folders.add(self._key(directory))

    def make_file_path_if_not_exists(self, file_path: str) -> bool:
        return True

    def get_files(self, directory: str = "") -> list[File]:
        prefix = f"{self._key(directory)}/" if directory.strip("/") else ""
        found = {key.removeprefix(prefix): key for key in sorted(self.files) if key.startswith(prefix)}
        return [File(self.files[key], name) for name, key in found.items() if "/" not in name]


class MockStorage(Storage):
    """The fake of ``storage`` in tests: nothing is written to a disk or to S3. Each fake begins with empty disks."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.application, storage.store_config)
        self.drivers = storage.drivers
        self.reset()

    def reset(self) -> None:
        self._disks: dict[str, MemoryDriver] = {}

    def disk(self, name: str = "default") -> MemoryDriver:
        """Return the disk ``name`` in memory. Raises ``ValueError`` if ``config/filesystem.py`` has none."""
        options = super().disk(name).options
        name = str(self.store_config["default"] if name == "default" else name)
        found = self._disks.setdefault(name, MemoryDriver(self.application, name))
        found.set_options(options)
        return found

    def files(self, disk: str = "default") -> list[str]:
        """Return the paths of all files of a disk, sorted."""
        return sorted(self.disk(disk).files)

    def _has(self, path: str, disk: str) -> bool:
        return relative(path) in self.disk(disk).files

    def _state(self, disk: str) -> str:
        found = self.disk(disk)
        return f"the disk {found.name} has {self.files(disk)}; written: {found.written}; deleted: {found.deleted}"

    def assertExists(self, path: str, content: str | bytes | None = None, disk: str = "default") -> "MockStorage":
        """Assert that the file is there and, if ``content`` is given, what it contains."""
        assert self._has(path, disk), f"There is no {path}: {self._state(disk)}"  # noqa: S101
        if content is not None:
            expected = content.encode() if isinstance(content, str) else content
            found = self.disk(disk).files[relative(path)]
            assert found == expected, f"{path} is {found[:200]!r}. Asserted {expected[:200]!r}"  # noqa: S101
        return self

    def assertMissing(self, path: str, disk: str = "default") -> "MockStorage":
        """Assert that the file is not there."""
        assert not self._has(path, disk), f"There is {path}: {self._state(disk)}"  # noqa: S101
        return self

    def assertCount(self, count: int, disk: str = "default") -> "MockStorage":
        """Assert how many files the disk has, in all folders."""
        assert len(self.files(disk)) == count, f"Asserted {count} files: {self._state(disk)}"  # noqa: S101
        return self

    def assertPut(self, path: str, count: int | None = None, disk: str = "default") -> "MockStorage":
        """Assert that the file was written, ``count`` times if it is given. It may have been deleted since."""
        found = self.disk(disk).written.count(relative(path))
        assert found and count in (None, found), f"{path} was written {found} times: {self._state(disk)}"  # noqa: S101
        return self

    def assertDeleted(self, path: str, disk: str = "default") -> "MockStorage":
        """Assert that the file was deleted, or moved away, and is not there."""
        self.assertMissing(path, disk)
        assert relative(path) in self.disk(disk).deleted, f"{path} was not deleted: {self._state(disk)}"  # noqa: S101
        return self

    def assertNothingPut(self) -> "MockStorage":
        """Assert that no file was written to any disk."""
        written = {name: disk.written for name, disk in self._disks.items() if disk.written}
        assert not written, f"Files were written: {written}"  # noqa: S101
        return self

    def assertNothingDeleted(self) -> "MockStorage":
        """Assert that no file was deleted from any disk."""
        deleted = {name: disk.deleted for name, disk in self._disks.items() if disk.deleted}
        assert not deleted, f"Files were deleted: {deleted}"  # noqa: S101
        return self
