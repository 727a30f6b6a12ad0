"""The supervisor of the production server: it starts, replaces and stops servers, and handles no request itself.

A server is a process (``workers.py``) that forks ``WEB_CONCURRENCY`` workers. A reload starts a second server beside
the first. The supervisor stops a server by closing its end of a pipe, which the kernel also does if the supervisor is
killed.
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
"""Time in which a new server must become ready."""
FINISHING_SECONDS = 10.0
"""Time that a server has to end after it has drained."""
STATES = ("ok", "degraded", "unavailable")
"""The states that ``/health/ready`` reports, best first."""
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 30.0
"""Seconds between the death of a server and the start of the next one: doubled for each start until one is ready."""


class Server:
    """A server: its process, its reports, and the pipes that stop it.

    It reports lines: ``started WORKERS DRAIN_SECONDS HOST PORT METRICS_PORT HEALTH_PORT`` first; ``state PID STATE``
    when a worker has become ready, and when its readiness changes; ``gone PID`` when a worker has ended;
    ``failed CAUSE`` when it does not start.
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
        self.workers, self.drain_seconds, self.addresses = 0, 0.0, ""
        self.was_ready = False
        self.failure = ""
        self._states: dict[str, str] = {}
        self._unread = b""

    def read_reports(self) -> None:
        with suppress(BlockingIOError):
            while chunk := os.read(self.reports, 65536):
                self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            match line.decode("ascii").split():
                case ["started", workers, drain_seconds, *addresses]:
                    self.workers, self.drain_seconds = int(workers), float(drain_seconds)
                    self.addresses = " ".join(addresses)
                case ["state", worker, state]:
                    self._states[worker] = state
                case ["gone", worker]:
                    self._states.pop(worker, None)
                case ["failed", *words]:
                    self.failure = " ".join(words)

    @property
    def is_ready(self) -> bool:
        return 0 < self.workers <= len(self._states)

    @property
    def state(self) -> str:
        """The best state that any worker's ``/health/ready`` reports."""
        return min(self._states.values(), key=STATES.index, default=STATES[-1])

    @property
    def has_keys(self) -> bool:
        return self.state != STATES[-1]

    def drain(self, ending: bool) -> None:
        """Let the server drain and end. With ``ending``, its ``/health/ready`` responds ``draining`` meanwhile."""
        if self._drain >= 0 and self.process.poll() is None:
            log.info(Event("server_draining", pid=self.process.pid, seconds=self.drain_seconds))
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
    """Keeps one server running. ``environment()`` returns the environment of a new one."""

    def __init__(self, environment: Callable[[], Mapping[str, str]]) -> None:
        self._environment = environment
        self._wakeup, self._waker = os.pipe()
        for descriptor in (self._wakeup, self._waker):
            os.set_blocking(descriptor, False)
        self._must_end = self._must_reload = False
        self._addresses: str | None = None  # those of the first server: later ones share them
        self._current: Server | None = None
        self._next: Server | None = None
        self._draining: list[Server] = []
        self._back_off, self._start_at = FIRST_BACK_OFF, 0.0

    def run(self) -> int:
        """Serve until TERM or INT, and return the exit status."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)  # any thread may receive a signal
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "_must_end", True))
        signal.signal(signal.SIGHUP, lambda *_: setattr(self, "_must_reload", True))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._current = self._start()
        if self._current is None:
            return 1
        was_ready = False
        while not self._must_end:
            self._wait(1.0)
            if self._current is not None and self._current.process.poll() is not None:
                if not was_ready:
                    self._current.close()
                    return self._current.process.returncode or 1
                self._replace_dead(self._current)
            if self._current is None and time.monotonic() >= self._start_at:
                self._current = self._start()
                self._delay_next_start()
            self._open_side_ports()
            if self._current is not None and self._current.is_ready and not self._current.was_ready:
                self._log_ready(self._current)
                was_ready = self._current.was_ready = True
                self._back_off = FIRST_BACK_OFF
            self._reload()
            self._reap()
        return self._stop()

    def _log_ready(self, server: Server) -> None:
        host, port, *_ = server.addresses.split()
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        log.info(Event("server_ready", address=address, processes=server.workers))

    def _wait(self, seconds: float) -> None:
        servers = [server for server in (self._current, self._next, *self._draining) if server is not None]
        select.select([self._wakeup, *(server.reports for server in servers)], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        for server in servers:
            server.read_reports()

    def _open_side_ports(self) -> None:
        """Open ``METRICS_PORT`` and ``HEALTH_PORT`` as soon as the first server has reported them."""
        server = self._current
        if self._addresses is not None or server is None or not server.workers:
            return
        self._addresses = server.addresses
        host, _, metrics_port, health_port = server.addresses.split()
        try:
            if metrics_port != "-":
                from zuplo_origin.observability import metrics  # imports a library that nothing else here needs

                side_port.serve(host, int(metrics_port), {metrics.PATH: metrics.page()})
            if health_port != "-":
                pages = {"/health/live": self._live, "/health/ready": self._ready}
                side_port.serve(host, int(health_port), pages)
        except OSError as error:
            sys.exit(f"METRICS_PORT, HEALTH_PORT: cannot listen on {host}: {error.strerror}")

    def _live(self) -> tuple[int, bytes, str]:
        return _page(200, "ok")

    def _ready(self) -> tuple[int, bytes, str]:
        server = self._current
        state = "draining" if self._must_end else server.state if server is not None else "unavailable"
        return _page(200 if state in ("ok", "degraded") else 503, state)

    def _replace_dead(self, dead: Server) -> None:
        log.error(Event("server_died", status=dead.process.returncode, restart_in=self._back_off))
        dead.close()  # which ends its workers
        self._current = None
        self._delay_next_start()

    def _delay_next_start(self) -> None:
        self._start_at = time.monotonic() + self._back_off
        self._back_off = min(self._back_off * 2, LONGEST_BACK_OFF)

    def _start(self) -> Server | None:
        """Start a server; return ``None`` if ``ENV_FILE`` is invalid, or the system starts no further process."""
        try:
            return Server(self._environment(), self._addresses)
        except (OSError, ValueError) as error:
            log.error(Event("server_not_started", why=str(error)))
            return None

    def _reload(self) -> None:
        if self._next is None:
            if self._must_reload and self._current is not None and self._current.is_ready:
                self._must_reload = False
                log.info(Event("reload_started"))
                self._next = self._start()
                if self._next is None:
                    self._log_failed_reload("the new server was not started")
            return
        new, old = self._next, self._current
        failure = None
        if new.process.poll() is not None:
            new.read_reports()
            failure = f"the new server ended with status {new.process.returncode}"
            if new.failure:
                failure += f" ({new.failure})"
        elif new.is_ready and old is not None and old.has_keys and not new.has_keys:
            failure = "the new server has no keys, and the running server has"
        elif not new.is_ready and time.monotonic() - new.started > STARTING_SECONDS:
            failure = f"the new server was not ready within {STARTING_SECONDS:.0f} s"
        if failure is not None:
            self._log_failed_reload(failure)
            self._retire(new)
            self._next = None
        elif new.is_ready:
            log.info(Event("reload_done"))
            new.was_ready = True
            self._current, self._next = new, None
            if old is not None:
                self._retire(old)

    def _log_failed_reload(self, failure: str) -> None:
        log.error(Event("reload_failed", why=f"{failure}; the running server continues"))

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
                log.info(Event("server_stopped", pid=server.process.pid, status=server.process.returncode))

    def _stop(self) -> int:
        self._draining += [server for server in (self._current, self._next) if server is not None]
        self._current = self._next = None
        for server in self._draining:
            server.drain(ending=True)
        while self._draining:
            self._wait(0.1)
            self._reap()
        return 0


def _page(status: int, state: str) -> tuple[int, bytes, str]:
    return status, json.dumps({"status": state}).encode(), "application/json; charset=utf-8"
