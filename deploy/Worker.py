"""One process of the server: how its parent sees it, and how it hears its parent."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from granian.server.mp import WorkerProcess

LEAVING_SECONDS = 1.0
"""In which a process that is to end answers with ``Connection: close``, so that clients go elsewhere by themselves."""
CLOSING_SECONDS = 0.5
"""At the end of the server: between the last connection that is let in, and the end of letting in any."""
FINISHING_SECONDS = 6.5
"""For the requests that are still under way then."""

_STOPPING = {signal.SIGTERM, signal.SIGINT}
LEAVE, END = signal.SIGUSR1, signal.SIGUSR2
"""What a parent tells its processes, and nobody else."""


class Worker:
    """A process of the server. ``ready`` tells once that the application is loaded there."""

    def __init__(self, process: WorkerProcess, ready: Connection) -> None:
        self._process, self._ready = process, ready

    def start(self) -> None:
        """Start it. What a terminal or a supervisor sends to all processes at once is for their parent to hear."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    @property
    def pid(self) -> int:
        return int(self._process.inner.pid)

    def is_alive(self) -> bool:
        return bool(self._process.is_alive())

    def is_ready(self, seconds: float = 0) -> bool:
        """Whether the application is loaded, after waiting for it."""
        return self._ready.poll(seconds)

    def retire(self) -> None:
        """End it, in 8 seconds at the most, after whatever it has begun to answer."""
        self._process.interrupt_by_parent = True  # granian takes it for a crash otherwise
        if self.is_alive() and self.is_ready():
            self._tell(LEAVE)
            time.sleep(LEAVING_SECONDS + CLOSING_SECONDS)
            self._tell(END)
            end = time.monotonic() + FINISHING_SECONDS
            while self.is_alive() and time.monotonic() < end:
                self._process.join(0.05)
        if self.is_alive():
            self._process.kill()  # it answers nobody yet, or has been waited for

    def _tell(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def load_application(
    parent: int,
    core: int | None,
    load: Callable[[], Any],
    prepare: Callable[[], None],
    wrap: Callable[[Any, threading.Event], Any],
    told: Connection,
) -> Any:
    """Load the application in the process that is to run it, which can be told to end from the first moment."""
    leaving = _hear_signals(parent)
    if core is not None:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    application = load()
    prepare()
    told.send(True)
    return wrap(application, leaving)


def _hear_signals(parent: int) -> threading.Event:
    """Return what is set where this process, which was forked just now, is to leave.

    It ends where its parent tells it to, or is gone: TERM, to which granian listens, is blocked until then.
    """
    for number in _STOPPING:
        signal.signal(number, signal.SIG_DFL)  # the parent's handlers were forked too; granian sets its own later
    leaving = threading.Event()
    signal.signal(LEAVE, lambda number, frame: leaving.set())
    signal.signal(END, lambda number, frame: _end())
    threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()
    return leaving


def _end() -> None:
    """Let granian hear of the end, and once: a second TERM finds it without ears, and it never ends."""
    while signal.sigpending() & _STOPPING:
        signal.sigwait(_STOPPING)
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), END)
