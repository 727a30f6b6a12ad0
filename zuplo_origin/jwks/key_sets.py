"""The key sets of all issuers, and the thread that refreshes them."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from zuplo_origin.observability.logs import Event

from .client import RemoteKeySet

log = logging.getLogger("zuplo_origin.jwks")

LONGEST_PAUSE = 3600.0
"""Seconds after which the background thread checks all key sets, even if nothing is due."""


class KeySets(Mapping[str, RemoteKeySet]):
    """One ``RemoteKeySet`` for each issuer. Bound to the container as ``jwks``."""

    def __init__(self, key_sets: Iterable[RemoteKeySet]) -> None:
        self._by_issuer = {key_set.issuer: key_set for key_set in key_sets}
        self._wake = threading.Event()
        self._logged_readiness = "ok"

    def __getitem__(self, issuer: str) -> RemoteKeySet:
        return self._by_issuer[issuer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_issuer)

    def __len__(self) -> int:
        return len(self._by_issuer)

    def readiness(self) -> str:
        """Return ``ok``, ``degraded`` if an issuer has no usable keys or fails, ``unavailable`` if none has any.

        A status that is not the last one is logged, with the cause of each issuer's failure.
        """
        cached = [key_set.cached() for key_set in self.values()]
        fine = all(cached) and not any(key_set.failing() for key_set in self.values())
        status = "ok" if fine else "degraded" if any(cached) else "unavailable"
        if status != self._logged_readiness:
            self._log_readiness(status)
        return status

    def _log_readiness(self, status: str) -> None:
        failures = [failure for key_set in self.values() if (failure := key_set.failure()) is not None]
        if status == "ok":
            log.info(Event("jwks_readiness", status=status))
        elif failures:
            log.warning(Event("jwks_readiness", status=status, why="; ".join(map(str, failures))))
        else:
            return  # the first fetches have not ended
        self._logged_readiness = status

    def start(self) -> None:
        """Begin the first fetches, and refresh the key sets for as long as this process and its forks live."""
        self._start_thread()
        # a forked child has none of the threads, but every lock that one of them held: the import lock of a module
        # that the first fetch imports, say
        os.register_at_fork(
            before=lambda: self._each(RemoteKeySet.acquire_for_fork),
            after_in_parent=lambda: self._each(RemoteKeySet.release_after_fork),
            after_in_child=self._restart,
        )

    def wait_for_first_fetches(self, seconds: float) -> None:
        """Wait until a fetch from each issuer has succeeded or failed, for ``seconds`` at most."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(each.cached() or each.failing() for each in self.values()):
            time.sleep(0.01)

    def _start_thread(self) -> None:
        self._wake = threading.Event()
        for key_set in self.values():
            key_set.on_change = self._wake.set
        threading.Thread(target=self._refresh_forever, name="jwks-refresh", daemon=True).start()

    def _refresh_forever(self) -> None:
        key_sets = tuple(self.values())
        while True:
            self._wake.clear()
            pause = LONGEST_PAUSE
            try:
                for key_set in key_sets:
                    key_set.refresh_if_due()
                    pause = min(pause, key_set.until_due())
            except Exception:  # this thread must not end: starting a fetch's thread may fail once, say
                log.exception(Event("jwks_refresh_error"))
                pause = 1.0
            self._wake.wait(pause)

    def _restart(self) -> None:
        self._each(RemoteKeySet.reset)
        self._start_thread()

    def _each(self, method: Callable[[RemoteKeySet], None]) -> None:
        for key_set in self.values():
            method(key_set)
