"""A key set that many processes share through a store, so that one process fetches it for all."""

import fcntl
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, Protocol, TypeVar

from itsdangerous import BadData, Serializer

from zuplo_origin.observability.logs import Event

from .client import FETCHES_PER_WINDOW, Policy
from .fetch import Deferred, Document, FetchFailed, Source
from .keys import BadKeySet, KeySet, WantedKey, parse_key_set

log = logging.getLogger("zuplo_origin.jwks")

P = ParamSpec("P")
T = TypeVar("T")

OPERATION_TIMEOUT = 0.5
"""Seconds that one store operation may take, name resolution included."""
PAUSE = 15.0
"""Seconds after a failed store operation in which no other is attempted."""
POLL_INTERVAL = 0.1
"""Seconds between two reads of the store while another process fetches."""
FAILURE_LIFETIME = 0.75
"""Seconds after a failed fetch in which no other process fetches."""
MAX_SKEW = 60.0
"""Seconds by which the clock of another machine may be ahead."""


class StoreDown(Exception):
    """A store that has failed, or has not responded in time."""


class Store(Protocol):
    """Values under names, each with a lifetime. Any exception means that the store is down.

    Other processes may write to the store: only signed values are trusted.
    """

    def get(self, name: str, longest: int) -> bytes | None:
        """Return the first ``longest`` bytes of the value; ``None`` if there is none, or its lifetime is over."""

    def put(self, name: str, value: bytes, seconds: float) -> None:
        """Store ``value`` under ``name`` for ``seconds``."""

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        """Store ``value`` unless there is one. Of concurrent calls, exactly one returns ``True``."""

    def delete(self, name: str) -> None:
        """Delete the value of ``name``, if there is one."""


class StoreWorker(threading.Thread):
    """Runs operations one after another, in a thread that a process may leave behind when it exits."""

    def __init__(self) -> None:
        super().__init__(name="jwks-store", daemon=True)
        self._operations: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self.start()

    def submit(self, operation: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()
        self._operations.put((future, operation))
        return future

    def end(self) -> None:
        """End the thread after the operations that were submitted."""
        self._operations.put(None)

    def run(self) -> None:
        while (item := self._operations.get()) is not None:
            future, operation = item
            if future.set_running_or_notify_cancel():  # not after its caller has stopped waiting
                try:
                    future.set_result(operation())
                except Exception as error:
                    future.set_exception(error)


class BoundedStore:
    """A ``store`` whose operations take half a second at most. A failed operation is followed by a pause.

    Raises ``StoreDown`` for a failed operation, and during the pause.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # without a lock: a fork could copy it while another thread holds it. At worst, two threads start a worker each
        self._worker: StoreWorker | None = None
        self._down_until: float | None = None

        self.get, self.put = self._bounded(store.get), self._bounded(store.put)
        self.add, self.delete = self._bounded(store.add), self._bounded(store.delete)

    def _bounded(self, operation: Callable[P, T]) -> Callable[P, T]:
        def run(*arguments: P.args, **named: P.kwargs) -> T:
            if self._down_until is not None and self._clock() < self._down_until:
                raise StoreDown
            worker = self._worker
            if worker is None or not worker.is_alive():  # in a forked child, it is not
                worker = self._worker = StoreWorker()
            # in another thread: the timeouts of a client do not cover name resolution, or a file system that hangs
            future = worker.submit(lambda: operation(*arguments, **named))
            try:
                result = future.result(OPERATION_TIMEOUT)
            except Exception as error:
                if not future.cancel() and not future.done():  # it hangs
                    self._worker = None
                    worker.end()
                if self._down_until is None:
                    log.warning(Event("jwks_store_down", why=type(error).__name__))
                self._down_until = self._clock() + PAUSE
                raise StoreDown from error
            if self._down_until is not None:
                self._down_until = None
                log.info(Event("jwks_store_back"))
            return result

        return run


class FileStore:
    """Files in ``folder``, which only this user can read. A file's modification time is when it expires."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, longest: int) -> bytes | None:
        try:
            with open(self._folder / name, "rb") as file:
                return file.read(longest) if os.fstat(file.fileno()).st_mtime > time.time() else None
        except FileNotFoundError:
            return None

    def put(self, name: str, value: bytes, seconds: float) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, path = tempfile.mkstemp(dir=self._folder)
        try:
            with open(number, "wb") as file:
                file.write(value)
            os.utime(path, times=(time.time() + seconds,) * 2)
            os.replace(path, self._folder / name)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(path)
            raise

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        with self._locked():
            if self.get(name, 1) is not None:
                return False
            self.put(name, value, seconds)
            return True

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._folder / name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold a lock that all processes share. It is released when the file is closed, even by a crash."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / "lock", "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True)
class SharedKeySet:
    """A key set in the store. ``number`` grows with each fetch: the clocks of machines differ.

    ``fetched_at`` is in seconds since the epoch, ``max_age`` in seconds.
    """

    number: int
    fetched_at: float
    body: bytes
    etag: str | None
    max_age: int | None
    key_set: KeySet


class SharedKeys:
    """The key set of ``source``, shared through ``store`` with every process that has the same secret ``key``.

    ``allowed`` are algorithms; ``clock`` is in seconds since the epoch. Only one thread uses it at a time: the one that
    fetches.
    """

    def __init__(
        self,
        source: Source,
        allowed: frozenset[str],
        policy: Policy,
        store: BoundedStore,
        key: bytes,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source, self._allowed, self._policy = source, allowed, policy
        self._store, self._key, self._clock, self._sleep = store, key, clock, sleep
        self._longest = 2 * source.max_bytes + 4096  # JSON escapes double a body at most
        self._prefix = hashlib.sha256(f"{source.issuer}\0{source.url}".encode()).hexdigest()[:32]
        self._last_read: tuple[bytes, SharedKeySet | None] = (b"", None)
        self._returned: SharedKeySet | None = None
        self._largest_number = 0
        self._fetch_alone = False

    def fetch(self, etag: str | None, wanted: WantedKey | None) -> Document:
        """Return a key set that is newer than the last one returned: the stored one, or else the issuer's.

        ``wanted`` is the unknown key that caused the fetch, if one did. ``etag`` is not used: the key set returned last
        has its own. Raises ``FetchFailed``, and ``Deferred`` if the cooldown of all processes together allows no fetch.
        While the store is down, each process fetches for itself.
        """
        try:
            shared = self._wait_for_key_set_or_turn(wanted)
        except StoreDown:
            shared = None
        age = max(0.0, self._clock() - shared.fetched_at) if shared else 0.0
        self._returned = shared = shared or self._fetch_and_share()
        return Document(shared.body, shared.etag, shared.max_age, age, shared.key_set)

    def _wait_for_key_set_or_turn(self, wanted: WantedKey | None) -> SharedKeySet | None:
        """Return a newer key set, or ``None`` if it is this process's turn to fetch.

        A broken store must not keep a process from fetching. After waiting in vain, or if the stored key set is gone,
        the process fetches alone, as often as it may without a store.
        """
        if self._fetch_alone:
            self._fetch_alone = False
            return None
        for _ in range(max(1, int(self._policy.timeout / POLL_INTERVAL))):
            shared = self._stored()
            if self._is_useful(shared, wanted):
                return shared
            if self._current("failed"):
                raise FetchFailed("another process could not fetch the key set")
            if shared is None and self._returned is not None:
                return None
            if self._claim("turn", self._policy.timeout + 1):
                return self._take_turn(wanted)
            self._sleep(POLL_INTERVAL)
        self._fetch_alone = True
        raise FetchFailed("another process is fetching, and has no response yet")

    def _take_turn(self, wanted: WantedKey | None) -> SharedKeySet | None:
        shared = self._stored()  # again: the turn of another process may have ended just before
        if not self._is_useful(shared, wanted):
            if wanted is None or self._claim_fetch_for_unknown(shared):
                return None
            if shared is None or not self._is_newer(shared):
                self._end_turn()
                raise Deferred
        self._end_turn()
        return shared

    def _fetch_and_share(self) -> SharedKeySet:
        last = self._returned
        try:
            document = self._source.fetch(last.etag if last else None)
            if document.body is None and last is not None:
                body, key_set = last.body, last.key_set
            else:
                body = document.body or b""
                key_set = parse_key_set(body, self._allowed)
        except (FetchFailed, BadKeySet):
            content = {"until": self._clock() + FAILURE_LIFETIME}
            self._put("failed", self._sign("failed", content), 10 * FAILURE_LIFETIME)
            self._end_turn()
            raise
        self._largest_number += 1
        now, etag, max_age = self._clock(), document.etag, document.max_age
        shared = SharedKeySet(self._largest_number, now, body, etag, max_age, key_set)
        kept = {"number": shared.number, "fetched_at": now, "body": body.decode(), "etag": etag, "max_age": max_age}
        value = self._sign("keys", kept)
        self._put("keys", value, self._lifetime(shared))
        self._last_read = value, shared
        self._end_turn()
        return shared

    def _is_newer(self, shared: SharedKeySet) -> bool:
        return self._returned is None or shared.number > self._returned.number

    def _is_useful(self, shared: SharedKeySet | None, wanted: WantedKey | None) -> bool:
        return shared is not None and self._is_newer(shared) and (wanted is None or shared.key_set.knows(*wanted))

    def _stored(self) -> SharedKeySet | None:
        """Return the key set in the store, if its signature is valid and its lifetime is not over."""
        value = self._store.get(f"{self._prefix}-keys", self._longest)
        if value is None:
            return None
        if value != self._last_read[0]:
            self._last_read = value, self._parse(value)
        shared = self._last_read[1]
        return shared if shared and self._clock() - shared.fetched_at < self._lifetime(shared) else None

    def _parse(self, value: bytes) -> SharedKeySet | None:
        """Return the key set in ``value``; log why, and return ``None``, if it is not acceptable."""
        try:
            content = self._signer("keys").loads(value)
            body = content.pop("body").encode()
            shared = SharedKeySet(**content, body=body, key_set=parse_key_set(body, self._allowed))
            if shared.fetched_at > self._clock() + MAX_SKEW:
                raise BadKeySet("it was fetched in the future")
        except (BadData, BadKeySet) as error:
            why = "it was not signed with this APP_KEY" if isinstance(error, BadData) else str(error)
            log.warning(Event("jwks_store_entry_rejected", issuer=self._source.issuer, why=why))
            return None
        self._largest_number = max(self._largest_number, shared.number)
        return shared

    def _lifetime(self, shared: SharedKeySet) -> float:
        return self._policy.fresh_for(shared.max_age) + self._policy.max_stale

    def _claim_fetch_for_unknown(self, shared: SharedKeySet | None) -> bool:
        """Claim one of the fetches for unknown keys in this cooldown window, of all processes together.

        Also return ``True`` if the store has lost the key set that a claimed fetch returned.
        """
        slots = [f"unknown-{number}" for number in range(FETCHES_PER_WINDOW)]
        if any(self._claim(slot, self._policy.cooldown) for slot in slots):
            return True
        after = max((content["after"] for slot in slots if (content := self._current(slot))), default=0)
        return shared is None or shared.number <= after

    def _claim(self, what: str, seconds: float) -> bool:
        """Claim ``what`` for ``seconds`` unless another process has. An existing claim without signature is ignored."""
        content = {"until": self._clock() + seconds, "after": self._largest_number}
        value = self._sign(what, content)
        return self._store.add(f"{self._prefix}-{what}", value, seconds) or self._current(what) is None

    def _current(self, what: str) -> dict[str, Any] | None:
        """Return the signed content of a claim or failure, if its time is not over."""
        value = self._store.get(f"{self._prefix}-{what}", self._longest)
        try:
            content: dict[str, Any] | None = self._signer(what).loads(value) if value is not None else None
        except BadData:
            return None
        return content if content and self._clock() < content["until"] else None

    def _end_turn(self) -> None:
        with suppress(StoreDown):
            self._store.delete(f"{self._prefix}-turn")

    def _put(self, what: str, value: bytes, seconds: float) -> None:
        with suppress(StoreDown):
            self._store.put(f"{self._prefix}-{what}", value, seconds)

    def _sign(self, what: str, content: Mapping[str, object]) -> bytes:
        return self._signer(what).dumps(content).encode()

    def _signer(self, what: str) -> Serializer[str]:
        """Return the signer of the JSON value under one name: HMAC with SHA-256.

        A value that was signed for one name is not valid under another. An old value stays valid: check its time.
        """
        options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return Serializer(
            self._key, salt=f"zuplo-origin shared key set 1: {self._prefix}-{what}", signer_kwargs=options
        )
