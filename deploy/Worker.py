"""One process of the server: how its parent sees it, and how it hears its parent."""

import os
import signal
import socket
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
"""At the end of the server: between the last connection that is let in, and the end of accepting."""
FINISHING_SECONDS = 6.5
"""For the requests that are still under way then."""

_STOPPING = {signal.SIGTERM, signal.SIGINT}
_READY, _LEAVE, _END = b"ready", b"leave", b"end"
"""What a process tells its parent, and what it hears from it. No signals: the kernel gives one to any thread of the
process, and Python lets the first of them hear of it, once that wakes for some other reason.
"""
_WAKING = signal.SIGUSR2
"""From one thread of a process to the first one."""


class Worker:
    """A process of the server. ``line`` leads to it: over it, it tells once that the application is loaded there."""

    def __init__(self, process: WorkerProcess, line: Connection) -> None:
        self._process, self._line = process, line

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
        return self._line.poll(seconds)

    def retire(self, wait_for_others: Callable[[], None]) -> None:
        """End it, in 8 seconds at the most, after whatever it has begun to answer.

        ``wait_for_others`` is called before it is to stop accepting.
        """
        self._process.interrupt_by_parent = True  # granian takes it for a crash otherwise
        if self.is_alive() and self.is_ready():
            self._tell(_LEAVE)
            time.sleep(LEAVING_SECONDS)
            wait_for_others()
            self._tell(_END)
            end = time.monotonic() + FINISHING_SECONDS
            while self.is_alive() and time.monotonic() < end:
                self._process.join(0.05)
        if self.is_alive():
            self._process.kill()  # it answers nobody yet, or has been waited for

    def _tell(self, word: bytes) -> None:
        with suppress(OSError):  # it is gone
            self._line.send_bytes(word)


def load_application(
    parent: int,
    core: int | None,
    load: Callable[[], Any],
    prepare: Callable[[], None],
    wrap: Callable[[Any, threading.Event], Any],
    others: list[socket.socket],
    line: Connection,
) -> Any:
    """Load the application in the process that is to run it, which can be told to end from the first moment.

    ``others`` are the queues of the other processes.
    """
    signal.set_wakeup_fd(-1)  # what wakes the parent was forked too, and so were its handlers
    for number in _STOPPING:
        signal.signal(number, signal.SIG_DFL)  # granian sets its own later
    for queue in others:
        queue.close()
    signal.signal(_WAKING, lambda number, frame: _end())
    leaving = threading.Event()
    hearing = (parent, line, leaving, threading.get_ident())
    threading.Thread(target=_hear, args=hearing, name="parent-line", daemon=True).start()
    if core is not None:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    application = load()
    prepare()
    line.send_bytes(_READY)
    return wrap(application, leaving)


def _hear(parent: int, line: Connection, leaving: threading.Event, first_thread: int) -> None:
    """Set ``leaving`` where the parent says so, and end the process where it says so, or is gone."""
    with suppress(EOFError, OSError):  # it is gone
        while os.getppid() == parent:
            if line.poll(1):
                if line.recv_bytes() == _END:
                    break
                leaving.set()
    signal.pthread_kill(first_thread, _WAKING)
    time.sleep(FINISHING_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)  # nobody else does where the parent is gone


def _end() -> None:
    """Let granian hear of the end, which is TERM to it, and is blocked but here.

    Once: a second TERM finds it without ears, and it never ends.
    """
    while signal.sigpending() & _STOPPING:
        signal.sigwait(_STOPPING)
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
