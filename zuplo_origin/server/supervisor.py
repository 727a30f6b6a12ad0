"""The supervisor of the production server: it starts servers, and never works on a request.

One server is a process of its own (``workers.py``) with a worker for each of ``WEB_CONCURRENCY``. A reload starts a
second one beside the first. A server learns that it is to end by the end of a pipe whose other end only the supervisor
holds: it learns so as well when the supervisor is killed.
"""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from zuplo_origin.observability.logs import Event

from . import side_port

log = logging.getLogger("zuplo_origin.server")

STARTING_SECONDS = 30.0
"""Time in which a new server must have become ready."""
FINISHING_SECONDS = 10.0
"""Time that a server has to end, after it has drained."""
STATES = ("ok", "degraded", "unavailable")
"""The states that ``/health/ready`` reports, best first."""
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 30.0
"""Seconds between the death of a server and the start of the next one: doubled with each."""


class Server:
    """One server: its process, what it reports, and the pipes by which it is told to end.

    It reports lines: ``listens HOST PORT METRICS_PORT HEALTH_PORT``, ``drain SECONDS`` and ``processes N`` as it
    starts; ``state PID STATE`` when a worker is ready to serve, and when its readiness changes; ``gone PID``.
    """

    def __init__(self, environment: Mapping[str, str], addresses: str | None) -> None:
        drain, self._drain = os.pipe()
        end, self._end = os.pipe()
        self.reports, report = os.pipe()
        os.set_blocking(self.reports, False)
        command = [sys.executable, "-m", "zuplo_origin.server.workers", *map(str, (drain, end, report))]
        if addresses is not None:
            command.append(addresses)
        self.process = subprocess.Popen(command, env=dict(environment), pass_fds=(drain, end, report))  # noqa: S603
        for descriptor in (drain, end, report):
            os.close(descriptor)
        self.started = time.monotonic()
        self.processes, self.drain_seconds = 0, 0.0
        self.was_ready = False
        self.addresses = ""
        self._states: dict[str, str] = {}
        self._unread = b""

    def read_reports(self) -> None:
        with suppress(BlockingIOError):
            while chunk := os.read(self.reports, 65536):
                self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            word, _, value = line.decode("ascii").partition(" ")
            if word == "listens":
                self.addresses = value
            elif word == "drain":
                self.drain_seconds = float(value)
            elif word == "processes":
                self.processes = int(value)
            elif word == "gone":
                self._states.pop(value, None)
            elif word == "state":
                worker, _, state = value.partition(" ")
                self._states[worker] = state

    @property
    def is_ready(self) -> bool:
        return 0 < self.processes <= len(self._states)

    @property
    def state(self) -> str:
        """The best state that any worker's ``/health/ready`` reports."""
        return min(self._states.values(), key=STATES.index, default=STATES[-1])

    @property
    def has_keys(self) -> bool:
        return self.state != STATES[-1]

    def drain(self, ending: bool) -> None:
        """Let it send its clients away, and end. ``ending``: ``/health/ready`` says ``draining`` meanwhile."""
        if ending and self._end >= 0:
            os.close(self._end)
            self._end = -1
        if self._drain >= 0:
            os.close(self._drain)
            self._drain = -1
            self.must_end = time.monotonic() + self.drain_seconds + FINISHING_SECONDS

    def close(self) -> None:
        self.drain(ending=True)
        os.close(self.reports)


class Supervisor:
    """Keeps one server running. ``environment()`` returns the environment for a new one."""

    def __init__(self, environment: Callable[[], Mapping[str, str]]) -> None:
        self._environment = environment
        self._wakeup, self._waker = os.pipe()
        for descriptor in (self._wakeup, self._waker):
            os.set_blocking(descriptor, False)
        self._ending = self._reloading = self._ports_are_open = False
        self._addresses: str | None = None  # where the first server listens: later ones share it
        self._current: Server | None = None
        self._next: Server | None = None
        self._draining: list[Server] = []
        self._back_off, self._start_at = FIRST_BACK_OFF, 0.0

    def run(self) -> int:
        """Serve until TERM or INT, and return the exit status."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)  # the kernel gives a signal to any thread
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "_ending", True))
        signal.signal(signal.SIGHUP, lambda *_: setattr(self, "_reloading", True))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._current = self._start()
        if self._current is None:
            return 1
        was_ready = False
        while not self._ending:
            self._wait(1.0)
            if self._current is not None and self._current.process.poll() is not None:
                if not was_ready:
                    self._current.close()
                    return self._current.process.returncode or 1
                self._replace_dead(self._current)
            if self._current is None and time.monotonic() >= self._start_at:
                self._current = self._start()
                self._back_off_again()
            self._open_ports()
            if self._current is not None and self._current.is_ready and not self._current.was_ready:
                log.info(Event("server_ready", processes=self._current.processes))
                was_ready = self._current.was_ready = True
                self._back_off = FIRST_BACK_OFF
            self._reload()
            self._reap()
        return self._stop()

    def _wait(self, seconds: float) -> None:
        servers = [server for server in (self._current, self._next, *self._draining) if server is not None]
        select.select([self._wakeup, *(server.reports for server in servers)], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        for server in servers:
            server.read_reports()

    def _open_ports(self) -> None:
        """Open the ports beside the main one, once the first server has reported them."""
        server = self._current
        if self._ports_are_open or server is None or not server.processes:
            return
        self._ports_are_open, self._addresses = True, server.addresses
        try:
            self._serve_pages(server)
        except OSError as error:
            sys.exit(f"METRICS_PORT or HEALTH_PORT: {error.strerror}")

    def _serve_pages(self, server: Server) -> None:
        host, _, metrics_port, health_port = server.addresses.split()
        if metrics_port != "-":
            from zuplo_origin.observability import metrics  # with a library that nothing else here needs

            side_port.serve(host, int(metrics_port), {metrics.PATH: metrics.page()})
        if health_port != "-":
            pages = {"/health/live": self._live, "/health/ready": self._is_ready}
            side_port.serve(host, int(health_port), pages)

    def _live(self) -> tuple[int, bytes, str]:
        return _page(200, "ok")

    def _is_ready(self) -> tuple[int, bytes, str]:
        server = self._current
        state = "draining" if self._ending else server.state if server is not None else "unavailable"
        return _page(200 if state in ("ok", "degraded") else 503, state)

    def _replace_dead(self, dead: Server) -> None:
        log.error(Event("server_died", status=dead.process.returncode, restart_in=self._back_off))
        dead.close()  # its workers end by themselves
        self._current = None
        self._back_off_again()

    def _back_off_again(self) -> None:
        self._start_at = time.monotonic() + self._back_off
        self._back_off = min(self._back_off * 2, LONGEST_BACK_OFF)

    def _start(self) -> Server | None:
        """Start a server; ``None`` when it cannot be: ``ENV_FILE`` cannot be read, or the system has no room for it."""
        try:
            return Server(self._environment(), self._addresses)
        except (OSError, ValueError) as error:
            log.error(Event("server_not_started", why=str(error)))
            return None

    def _reload(self) -> None:
        if self._next is None:
            if self._reloading and self._current is not None and self._current.is_ready:
                self._reloading = False
                log.info(Event("reload_started"))
                self._next = self._start()
                if self._next is None:
                    log.error(Event("reload_failed", why="the new server was not started; the running server goes on"))
            return
        new, old = self._next, self._current
        failure = None
        if new.process.poll() is not None:
            failure = f"it ended with status {new.process.returncode}"
        elif new.is_ready and old is not None and old.has_keys and not new.has_keys:
            failure = "it has no keys, and the running server has"
        elif not new.is_ready and time.monotonic() - new.started > STARTING_SECONDS:
            failure = f"it was not ready within {STARTING_SECONDS:.0f} s"
        if failure is not None:
            log.error(Event("reload_failed", why=f"{failure}; the running server goes on"))
            self._retire(new)
            self._next = None
        elif new.is_ready:
            log.info(Event("reload_done"))
            new.was_ready = True
            self._current, self._next = new, None
            if old is not None:
                self._retire(old)

    def _retire(self, server: Server) -> None:
        server.drain(ending=False)
        self._draining.append(server)

    def _reap(self) -> None:
        for server in list(self._draining):
            if server.process.poll() is None and time.monotonic() > server.must_end:
                server.process.kill()
                server.process.wait()
            if server.process.poll() is not None:
                server.close()
                self._draining.remove(server)

    def _stop(self) -> int:
        for server in (self._current, self._next):
            if server is not None:
                self._draining.append(server)
        self._current = self._next = None
        for server in self._draining:
            server.drain(ending=True)
        while self._draining:
            self._wait(0.1)
            self._reap()
        return 0


def _page(status: int, state: str) -> tuple[int, bytes, str]:
    return status, json.dumps({"status": state}).encode(), "application/json; charset=utf-8"
