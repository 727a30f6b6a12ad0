"""A key set that many processes share: one of them fetches it."""

import base64
import fcntl
import hashlib
import hmac
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from zuplo_origin.observability.logs import Event

from .client import FETCHES_PER_WINDOW, Policy
from .fetch import Deferred, Document, FetchFailed, Source
from .keys import BadKeySet, KeySet, parse_key_set

log = logging.getLogger("zuplo_origin.jwks")

T = TypeVar("T")

LONGEST_OPERATION = 0.5
"""Seconds that one operation may take, a name's resolution included."""
PAUSE = 15.0
"""Seconds in which a store that failed is not asked again."""


class StoreDown(Exception):
    """The store cannot be asked now."""


class Store(Protocol):
    """Values under names, each for a while. Any exception of an operation means that the store is down.

    Nothing that comes out of it is believed as such: see ``Seal``.
    """

    def get(self, name: str, longest: int) -> bytes | None:
        """Return the value of ``name``, cut after ``longest`` bytes; ``None`` where there is none in its time."""

    def put(self, name: str, value: bytes, seconds: float) -> None:
        """Keep ``value`` under ``name`` for ``seconds``."""

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        """The same where there is none yet; whether there was none. Of several that ask at once, one hears ``True``."""

    def delete(self, name: str) -> None:
        """Forget ``name``."""


class BoundedStore:
    """A ``store`` whose failures and silences cost little: no operation takes longer than half a second, and one that
    failed is followed by a pause. Raises ``StoreDown`` then.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._down_until: float | None = None

    def get(self, name: str, longest: int) -> bytes | None:
        return self._bounded(lambda: self._store.get(name, longest))

    def put(self, name: str, value: bytes, seconds: float) -> None:
        self._bounded(lambda: self._store.put(name, value, seconds))

    def add(self, name: str, value: bytes, seconds: float) -> bool:
        return self._bounded(lambda: self._store.add(name, value, seconds))

    def delete(self, name: str) -> None:
        self._bounded(lambda: self._store.delete(name))

    def _bounded(self, operation: Callable[[], T]) -> T:
        if self._down_until is not None and self._clock() < self._down_until:
            raise StoreDown
        results: list[T] = []
        failures: list[Exception] = []

        def run() -> None:
            try:
                results.append(operation())
            except Exception as error:
                failures.append(error)

        # a thread of its own: no time-out of a client's reaches into the resolver, or a file system that hangs
        thread = threading.Thread(target=run, name="jwks-store", daemon=True)
        thread.start()
        thread.join(LONGEST_OPERATION)
        if not results:
            failure = failures[0] if failures else TimeoutError()
            if self._down_until is None:
                log.warning(Event("jwks_store_down", why=type(failure).__name__))
            self._down_until = self._clock() + PAUSE
            raise StoreDown from failure
        if self._down_until is not None:
            self._down_until = None
            log.info(Event("jwks_store_back"))
        return results[0]


class FileStore:
    """Files in ``folder``, which is made for this user alone. A file's time of change is when it is over."""

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
        with self._alone():
            if self.get(name, 1) is not None:
                return False
            self.put(name, value, seconds)
            return True

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._folder / name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While the block runs, no other process is in such a one: the lock ends with the file, whatever happens."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / "lock", "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


_PURPOSE = b"zuplo-origin: shared key sets, 1"
_DIGITS = 64


class Seal:
    """An HMAC with SHA-256 (RFC 2104) over a name and a JSON object. ``key`` is a secret that all processes share.

    What was sealed under one name opens under no other. It may be put back later: whoever opens it looks at the time
    that stands in it.
    """

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, _PURPOSE, "sha256")

    def close(self, name: str, content: Mapping[str, Any]) -> bytes:
        """Return ``content``, sealed for ``name``."""
        text = json.dumps(content).encode()
        return self._mac(name, text).encode() + text

    def open(self, name: str, value: bytes) -> dict[str, Any] | None:
        """Return the content of ``value``, ``None`` where it was not sealed with this key for ``name``."""
        if not hmac.compare_digest(self._mac(name, value[_DIGITS:]).encode(), value[:_DIGITS]):
            return None
        content = json.loads(value[_DIGITS:])
        return content if isinstance(content, dict) else None

    def _mac(self, name: str, text: bytes) -> str:
        return hmac.new(self._key, hashlib.sha256(name.encode()).digest() + text, "sha256").hexdigest()


POLL = 0.1
"""Seconds between two looks at the store, while another process asks the issuer."""
FAILURE = 0.75
"""Seconds in which no other process asks an issuer that has just failed one."""
SKEW = 60.0
"""Seconds by which the clock of another machine may be ahead."""


@dataclass(frozen=True)
class SharedKeySet:
    """An issuer's answer, as it is shared. ``number`` grows with each that is shared: the clocks of machines differ.

    ``fetched_at`` is in seconds since the epoch; ``max_age`` in seconds.
    """

    number: int
    fetched_at: float
    body: bytes
    etag: str | None
    max_age: int | None


class SharedKeys:
    """The key set of ``source``, shared through ``store`` with every process that has the same ``seal``.

    ``allowed`` are algorithms; ``clock`` is in seconds since the epoch. It is used by one thread at a time: the one
    that fetches.
    """

    def __init__(
        self,
        source: Source,
        allowed: frozenset[str],
        policy: Policy,
        store: BoundedStore,
        seal: Seal,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source, self._allowed, self._policy = source, allowed, policy
        self._store, self._seal, self._clock, self._sleep = store, seal, clock, sleep
        self._longest = 2 * source.max_bytes + 4096
        self._name = hashlib.sha256(f"{source.issuer}\0{source.url}".encode()).hexdigest()[:32]
        self._taken: SharedKeySet | None = None
        self._seen = 0  # the largest number of an entry
        self._patient = True
        self._refused = b""

    def fetch(self, etag: str | None, answers: Callable[[KeySet], bool] | None) -> Document:
        """Return a newer answer than the last one that was returned, another process's where there is one.

        ``answers`` is for an unknown key id: whether a key set has something to say of it. Raises ``FetchFailed``, and
        ``Deferred`` where unknown key ids have caused enough fetches. Where the store is down, the issuer is asked as
        if there were none.
        """
        try:
            entry = self._wait_for_newer_or_turn(answers)
        except StoreDown:
            entry = None
        if entry is not None:
            self._taken = entry
            return Document(entry.body, entry.etag, entry.max_age, age=max(0.0, self._clock() - entry.fetched_at))
        try:
            document = self._source.fetch(etag)
            entry = self._entry(document)
        except (FetchFailed, BadKeySet):
            self._tell("failed", {"until": self._clock() + FAILURE}, 10 * FAILURE)
            self._end_turn()
            raise
        self._share(entry)
        self._end_turn()
        self._taken = entry
        return document

    def _wait_for_newer_or_turn(self, answers: Callable[[KeySet], bool] | None) -> SharedKeySet | None:
        """Return a newer entry, or ``None`` where this process is to ask the issuer.

        The store is believed to help, and not to hinder: whoever has waited in vain, or finds that what others fetched
        is gone, asks by itself, as often as it may without a store.
        """
        if not self._patient:
            self._patient = True
            return None
        for _ in range(max(1, int(self._policy.timeout / POLL))):
            entry = self._stored()
            if self._serves(entry, answers):
                return entry
            if self._held("failed"):
                raise FetchFailed("another process asked, and had no answer")
            if entry is None and self._taken is not None:
                return None
            if self._claim("turn", self._policy.timeout + 1):
                return self._in_turn(answers)
            self._sleep(POLL)
        self._patient = False
        raise FetchFailed("another process asks, and has no answer yet")

    def _in_turn(self, answers: Callable[[KeySet], bool] | None) -> SharedKeySet | None:
        entry = self._stored()  # once more: another one's turn may have ended just before
        if not self._serves(entry, answers):
            if answers is None or self._claim_one_for_unknown(entry):
                return None
            if entry is None or not self._is_newer(entry):
                self._end_turn()
                raise Deferred
        self._end_turn()
        return entry

    def _serves(self, entry: SharedKeySet | None, answers: Callable[[KeySet], bool] | None) -> bool:
        """Whether ``entry`` is newer than what was taken, and says what is looked for."""
        if entry is None or not self._is_newer(entry):
            return False
        return answers is None or answers(parse_key_set(entry.body, self._allowed))

    def _is_newer(self, entry: SharedKeySet) -> bool:
        return self._taken is None or entry.number > self._taken.number

    def _stored(self) -> SharedKeySet | None:
        """Return the entry in the store, where it is sealed for this key set, in its time, and good."""
        value = self._store.get(f"{self._name}-keys", self._longest)
        if value is None:
            return None
        content = self._seal.open(f"{self._name}-keys", value)
        if content is None:
            self._refuse(value, "it was not sealed with this APP_KEY")
            return None
        if (content["issuer"], content["url"]) != (self._source.issuer, self._source.url):
            self._refuse(value, "it is another issuer's")
            return None
        body = base64.b64decode(content["body"])
        entry = SharedKeySet(content["number"], content["fetched_at"], body, content["etag"], content["max_age"])
        age = self._clock() - entry.fetched_at
        if age < -SKEW:
            self._refuse(value, "it comes from the future")
            return None
        try:
            parse_key_set(entry.body, self._allowed)
        except BadKeySet as error:
            self._refuse(value, str(error))
            return None
        self._seen = max(self._seen, entry.number)
        return entry if age < self._life(entry) else None

    def _refuse(self, value: bytes, why: str) -> None:
        """Tell once that something else is in the place of the key set."""
        if value != self._refused:
            self._refused = value
            log.warning(Event("jwks_store_refused", issuer=self._source.issuer, why=why))

    def _entry(self, document: Document) -> SharedKeySet:
        """Return what is to be shared of the issuer's answer; ``BadKeySet`` where it is no key set."""
        body = document.body if document.body is not None else self._taken.body if self._taken else b""
        parse_key_set(body, self._allowed)
        self._seen += 1
        return SharedKeySet(self._seen, self._clock(), body, document.etag, document.max_age)

    def _share(self, entry: SharedKeySet) -> None:
        body = base64.b64encode(entry.body).decode()
        told = {"number": entry.number, "fetched_at": entry.fetched_at, "etag": entry.etag, "max_age": entry.max_age}
        named = {"issuer": self._source.issuer, "url": self._source.url}
        self._tell("keys", {**named, **told, "body": body}, self._life(entry))

    def _life(self, entry: SharedKeySet) -> float:
        return self._policy.fresh_for(entry.max_age) + self._policy.max_stale

    def _tell(self, what: str, content: dict[str, object], seconds: float) -> None:
        name = f"{self._name}-{what}"
        try:
            self._store.put(name, self._seal.close(name, content), seconds)
        except StoreDown:
            return

    def _end_turn(self) -> None:
        try:
            self._store.delete(f"{self._name}-turn")
        except StoreDown:
            return

    def _claim_one_for_unknown(self, entry: SharedKeySet | None) -> bool:
        """Whether this process may ask for an unknown key id: where the window allows one more, or where what the
        others fetched in it is not in the store.
        """
        slots = [f"unknown-{number}" for number in range(FETCHES_PER_WINDOW)]
        if any(self._claim(slot, self._policy.cooldown) for slot in slots):
            return True
        after = max((content["after"] for slot in slots if (content := self._held(slot))), default=0)
        return entry is None or entry.number <= after

    def _claim(self, what: str, seconds: float) -> bool:
        """Whether nobody else has claimed this, for ``seconds`` from now: what is not sealed holds nobody up."""
        name = f"{self._name}-{what}"
        sealed = self._seal.close(name, {"until": self._clock() + seconds, "after": self._seen})
        return self._store.add(name, sealed, seconds) or self._held(what) is None

    def _held(self, what: str) -> dict[str, Any] | None:
        """Return what was claimed or told, in its time; ``None`` where nothing was."""
        name = f"{self._name}-{what}"
        value = self._store.get(name, self._longest)
        content = self._seal.open(name, value) if value is not None else None
        return content if content is not None and self._clock() < content["until"] else None
