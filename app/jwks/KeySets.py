"""The key sets of all issuers, and the thread that renews them."""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping

from app.log.Event import Event

from .RemoteKeySet import RemoteKeySet

log = logging.getLogger("app.jwks")

LONGEST_PAUSE = 3600.0
"""Seconds after which the thread looks around, even where nothing is due."""


class KeySets(Mapping[str, RemoteKeySet]):
    """One ``RemoteKeySet`` for each issuer. Bound to the container as ``jwks``."""

    def __init__(self, key_sets: Iterable[RemoteKeySet]) -> None:
        self._by_issuer = {key_set.issuer: key_set for key_set in key_sets}
        self._wake = threading.Event()

    def __getitem__(self, issuer: str) -> RemoteKeySet:
        return self._by_issuer[issuer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_issuer)

    def __len__(self) -> int:
        return len(self._by_issuer)

    def readiness(self) -> str:
        """``ok`` where every issuer has fresh keys and answers, ``degraded`` where one does not, ``unavailable``
        where none has keys that may serve.
        """
        held = [key_set.held() for key_set in self.values()]
        if not any(held):
            return "unavailable"
        fine = all(held) and not any(key_set.failing() for key_set in self.values())
        return "ok" if fine else "degraded"

    def start(self) -> None:
        """Begin the first fetches, and keep the sets fresh for as long as the process lives, forked children too."""
        self._start_thread()
        # a forked child has this object, but not its threads, and for ever the locks that one of them held: a module's,
        # say, which the first fetch imports
        reference = weakref.ref(self)
        os.register_at_fork(
            before=lambda: _each(reference(), RemoteKeySet.hold_still),
            after_in_parent=lambda: _each(reference(), RemoteKeySet.go_on),
            after_in_child=lambda: _revive(reference()),
        )

    def wait_for_first_fetches(self, seconds: float) -> None:
        """Wait until each issuer has answered once, well or badly, but no longer than that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(each.held() or each.failing() for each in self.values()):
            time.sleep(0.01)

    def _start_thread(self) -> None:
        self._wake = threading.Event()
        for key_set in self.values():
            key_set.on_change = self._wake.set
        threading.Thread(target=self._keep_fresh, name="jwks-refresh", daemon=True).start()

    def _keep_fresh(self) -> None:
        while True:
            self._wake.clear()
            pause = LONGEST_PAUSE
            try:
                for key_set in self.values():
                    key_set.refresh_if_due()
                    pause = min(pause, key_set.until_due())
            except Exception:  # this thread has to outlive whatever happens: a thread that could not be started, say
                log.exception(Event("jwks_refresh_broke"))
                pause = 1.0
            self._wake.wait(pause)

    def _revive(self) -> None:
        for key_set in self.values():
            key_set.restart()
        self._start_thread()


def _each(key_sets: KeySets | None, action: Callable[[RemoteKeySet], None]) -> None:
    for key_set in key_sets.values() if key_sets is not None else ():
        action(key_set)


def _revive(key_sets: KeySets | None) -> None:
    if key_sets is not None:
        key_sets._revive()
