"""Granian, made to lose no request as it ends, and as its processes are replaced.

As it comes, it loses some in three ways. A keep-alive connection is closed as soon as a process is told to end, though
its client's next request may be on the way. Each process makes a queue of connections of its own, and those that wait
in it are reset as the process ends. And a process that is told to end while it still starts does not hear it.
"""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from granian.constants import Interfaces
from granian.log import logger
from granian.net import SocketSpec
from granian.server.mp import MPServer, WorkerProcess

from .syn_filter import refuse_new_connections

LEAVING_SECONDS = 1.0
"""In which a process that is to end answers with ``Connection: close``, so that clients go elsewhere by themselves."""
CLOSING_SECONDS = 0.5
"""At the end of the server: between the last connection that is let in, and the end of letting in any."""
FINISHING_SECONDS = 6.5
"""For the requests that are still under way then."""
STARTING_SECONDS = 30.0
"""That a new process may take until it takes over from an old one."""

_STOPPING = {signal.SIGTERM, signal.SIGINT}
_LEAVE, _END = signal.SIGUSR1, signal.SIGUSR2


class Interrupt:
    """An event that signals set. Python's own has a lock, for which a signal waits that came while another set it."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def set(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._writing, b"!")

    def clear(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._reading, 1024):
                continue

    def wait(self) -> None:
        select.select([self._reading], [], [])


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
            self._tell(_LEAVE)
            time.sleep(LEAVING_SECONDS + CLOSING_SECONDS)
            self._tell(_END)
            end = time.monotonic() + FINISHING_SECONDS
            while self.is_alive() and time.monotonic() < end:
                self._process.join(0.05)
        if self.is_alive():
            self._process.kill()  # it answers nobody yet, or has been waited for

    def _tell(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class GracefulServer(MPServer):
    """Granian's server of several processes, whose clients notice neither a reload nor an end.

    ``on_core`` gives each process a core of its own. ``prepare`` is called in a process that takes over from another
    one, before it takes connections; ``forget`` in the parent, with the id of one that has ended.
    """

    def __init__(
        self,
        *arguments: Any,
        on_core: bool = False,
        prepare: Callable[[], None],
        forget: Callable[[int], None],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, respawn_failed_workers=True, **options)
        self._on_core, self._prepare, self._forget = on_core, prepare, forget
        self.main_loop_interrupt = Interrupt()
        self._retiring: list[threading.Thread] = []

    def _init_shared_socket(self) -> None:
        """Listen once for each process, and not in it: whoever waits in its queue is taken by the one that replaces it.

        One queue for all would let the first that wakes take whole bursts of connections, and others idle.
        """
        spec = SocketSpec(self.bind_addr, self.bind_port, self.backlog)
        self._holders = [spec.build() for _ in range(self.workers)]
        self._queues = [socket.socket(fileno=holder.get_fd()) for holder in self._holders]

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        for number in (_LEAVE, _END):
            signal.signal(number, signal.SIG_IGN)  # these are between this process and the others
        super().startup(spawn_target, target_loader)

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        try:
            super()._serve_loop(spawn_target, target_loader)
        except Exception:  # nobody would listen to signals, and the others would go on
            logger.exception("The server broke, and ends")
            self.interrupt_children.append(0)

    def _drop_shared_socket(self) -> None:
        """Not yet: ``_stop_workers`` does."""

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Callable[[], Any]) -> Worker:
        self._shd, self._sso = self._holders[idx], self._queues[idx]
        ready, told = Pipe(duplex=False)
        core = idx if self._on_core else None
        prepare = self._prepare if idx < len(self.wrks) else _nothing
        wrap = _closing_wsgi if self.interface is Interfaces.WSGI else _closing_asgi
        return Worker(
            super()._spawn_worker(idx, target, partial(_load, core, callback_loader, prepare, wrap, told)), ready
        )

    def _respawn_workers(self, workers: list[int], spawn_target: Any, target_loader: Any, delay: float = 0) -> None:
        for index in workers:
            if self.interrupt_signal:
                self.main_loop_interrupt.set()  # the loop has cleared it, perhaps, after it was set for the end
                return
            old = self.wrks[index]
            if not old.is_alive():
                self.respawned_wrks[index] = time.monotonic()  # one that dies again at once ends the server
            new = self._spawn_worker(index, spawn_target, target_loader)
            new.start()
            self.wrks[index] = new
            end = time.monotonic() + STARTING_SECONDS
            while new.is_alive() and not new.is_ready(0.1) and time.monotonic() < end and not self.interrupt_signal:
                continue
            if new.is_alive():  # if the old one has died meanwhile, it is replaced already
                self.interrupt_children[:] = [each for each in self.interrupt_children if each != index]
            retiring = self._retire(old)
            while retiring.is_alive() and not self.interrupt_signal:
                retiring.join(0.1)

    def _stop_workers(self) -> None:
        for worker in self.wrks:
            self._retire(worker)
        time.sleep(LEAVING_SECONDS)
        for queue in self._queues:
            refuse_new_connections(queue)
        time.sleep(CLOSING_SECONDS + 0.1)  # they have been told to take nobody else meanwhile
        for queue in self._queues:
            with suppress(OSError):
                queue.shutdown(socket.SHUT_RDWR)  # though some of them still answer, and hold it open
            queue.close()
        for retiring in self._retiring:
            retiring.join()
        self.wrks.clear()

    def _retire(self, worker: Worker) -> threading.Thread:
        def retire() -> None:
            worker.retire()
            self._forget(worker.pid)

        retiring = threading.Thread(target=retire)
        retiring.start()
        self._retiring = [one for one in self._retiring if one.is_alive()] + [retiring]
        return retiring


def _nothing() -> None:
    """What a process prepares that takes over from nobody."""


def _load(
    core: int | None, load: Callable[[], Any], prepare: Callable[[], None], wrap: Callable[[Any, Any], Any], told: Any
) -> Any:
    """Load the application in the process that is to run it, which can be told to end from the first moment."""
    leaving = _hear_signals()
    if core is not None:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    application = load()
    prepare()
    told.send(True)
    return wrap(application, leaving)


def _hear_signals() -> threading.Event:
    """Return what is set where this process, which was forked just now, is to leave.

    It ends where its parent tells it to, or is gone: TERM, to which granian listens, is blocked until then.
    """
    for number in _STOPPING:
        signal.signal(number, signal.SIG_DFL)  # the parent's handlers were forked too; granian sets its own later
    leaving = threading.Event()
    signal.signal(_LEAVE, lambda number, frame: leaving.set())
    signal.signal(_END, lambda number, frame: _end())
    threading.Thread(target=_end_with, args=(os.getppid(),), name="parent-watch", daemon=True).start()
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
    os.kill(os.getpid(), _END)


def _closing_wsgi(application: Any, leaving: threading.Event) -> Any:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if not leaving.is_set():
            return application(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("Connection", "close")], exc_info)

        return application(environ, start)

    return answer


def _closing_asgi(application: Any, leaving: threading.Event) -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if leaving.is_set() and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await application(scope, receive, sent)

    return answer
