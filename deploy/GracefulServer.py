"""Granian, made to lose no request as it ends, and as its processes are replaced.

As it comes, it loses some in three ways. A keep-alive connection is closed as soon as a process is told to end, though
its client's next request may be on the way. Each process makes a queue of connections of its own, and those that wait
in it are reset as the process ends. And a process that is told to end while it still starts does not hear it.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import Pipe
from typing import Any

from granian.constants import Interfaces
from granian.log import logger
from granian.net import SocketSpec
from granian.server.mp import MPServer

from .closing import closing_asgi, closing_wsgi
from .Interrupt import Interrupt
from .syn_filter import refuse_new_connections
from .Worker import CLOSING_SECONDS, LEAVING_SECONDS, Worker, load_application

STARTING_SECONDS = 30.0
"""That a new process may take until it takes over from an old one."""


class GracefulServer(MPServer):
    """Granian's server of several processes, whose clients notice neither a reload nor an end.

    ``on_core`` gives each process a core of its own. ``prepare`` is called in a process that takes over from another
    one, which answers meanwhile; ``forget`` in the parent, with the id of one that has ended.
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
        self._nobody_waits = threading.Event()

    def _init_shared_socket(self) -> None:
        """Listen once for each process, and not in it: whoever waits in its queue is taken by the one that replaces it.

        One queue for all would let the first that wakes take whole bursts of connections, and others idle.

        A queue ends as the last of its holders closes it, which is its process, as it stops accepting. It must not end
        before: a process whose accepting fails tries again and again, and hears of no end.
        """
        spec = SocketSpec(self.bind_addr, self.bind_port, self.backlog)
        self._holders = [spec.build() for _ in range(self.workers)]
        self._queues = [socket.socket(fileno=holder.get_fd()) for holder in self._holders]

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        self.main_loop_interrupt.hear_signals()
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
        line, its_line = Pipe()
        core = idx if self._on_core else None
        prepare = self._prepare if idx < len(self.wrks) and self.wrks[idx].is_alive() else _nothing
        wrap = closing_wsgi if self.interface is Interfaces.WSGI else closing_asgi
        others = [queue for queue in self._queues if queue is not self._sso]
        load = partial(load_application, os.getpid(), core, callback_loader, prepare, wrap, others, its_line)
        return Worker(super()._spawn_worker(idx, target, load), line)

    def _respawn_workers(self, workers: list[int], spawn_target: Any, target_loader: Any, delay: float = 0) -> None:
        for index in workers:
            if self.interrupt_signal:
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
            queue.close()
        time.sleep(CLOSING_SECONDS)
        self._nobody_waits.set()
        for retiring in self._retiring:
            retiring.join()
        self.wrks.clear()

    def _wait_for_others(self) -> None:
        """Until a process that leaves can stop accepting.

        In a reload, clients that it sends away stay with the others. At the end, all send them away, and whoever came
        to it in that moment would be cut off: those that leave since a reload wait for the end of the queues, too.
        """
        self._nobody_waits.wait(CLOSING_SECONDS)
        if self.interrupt_signal:
            self._nobody_waits.wait()

    def _retire(self, worker: Worker) -> threading.Thread:
        def retire() -> None:
            worker.retire(self._wait_for_others)
            self._forget(worker.pid)

        retiring = threading.Thread(target=retire)
        retiring.start()
        self._retiring = [one for one in self._retiring if one.is_alive()] + [retiring]
        return retiring


def _nothing() -> None:
    """What a process prepares that takes over from nobody."""
