"""One server: a process that forks workers, and each worker's event loop around granian.

``python -m zuplo_origin.server.workers DRAIN END REPORT [ADDRESSES]`` is for the supervisor to run: the numbers are
file descriptors of pipes, ``ADDRESSES`` is where the server before this one listens; see ``Server`` there.
"""

import asyncio
import errno
import gc
import importlib
import logging
import multiprocessing
import os
import resource
import select
import signal
import socket
import stat
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server as Granian

from zuplo_origin.observability import COUNTING_FOLDER
from zuplo_origin.observability.logs import Event, set_up
from zuplo_origin.settings import BadSettings, Settings, read_settings

from . import connections
from .adapter import Adapter
from .bodies import Bodies

log = logging.getLogger("zuplo_origin.server")

MAX_HEADERS = 32_768
"""Bytes that are read of a request's line and headers at a time: of what takes more than two such reads, and of more
than 100 headers, the server itself says 431.
"""
SPARE_FILES = 256
"""File descriptors that are left to everything else."""
FINISHING_SECONDS = 8.0
"""Time that a worker has for the requests under way, after it has stopped accepting."""
FIRST_REQUEST_SECONDS = 0.5
"""Time that a connection which has just been accepted has to send its request, after the worker has stopped accepting.
"""
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.25, 30.0
"""Seconds between the death of a worker and the start of the next one: doubled with each, until one has been ready."""


class ConfigFiles:
    """The modules in ``config/``, read without starting the application: that is for the workers to do."""

    def get(self, path: str, default: Any = None) -> Any:
        module, _, name = path.partition(".")
        return getattr(importlib.import_module(f"config.{module}"), name.upper(), default)


class Workers:
    """The workers of one server, and what they share."""

    def __init__(self, settings: Settings, drain: int, end: int, report: int) -> None:
        self._settings = settings
        self._drain, self._end, self._report = drain, end, report
        self._fork = multiprocessing.get_context("fork")
        self._workers: dict[int, BaseProcess] = {}
        self._start_at: dict[int, float] = {index: 0.0 for index in range(settings.processes)}
        self._back_off = [FIRST_BACK_OFF] * settings.processes
        self._starting: dict[int, Connection] = {}
        self._serving: set[int] = set()
        self._has_started = False  # all workers have been ready at once

    def run(self) -> int:
        """Keep all workers running until the supervisor says otherwise, and return the exit status."""
        settings = self._settings
        _tell(self._report, "listens", _addresses(settings))
        _tell(self._report, "drain", settings.drain_seconds)
        _tell(self._report, "processes", settings.processes)
        while not _has_ended(self._drain):
            for index, at in list(self._start_at.items()):
                if time.monotonic() >= at:
                    del self._start_at[index]
                    self._start(index)
            sentinels = [worker.sentinel for worker in self._workers.values()]
            files: list[Any] = [self._drain, *sentinels, *self._starting.values()]
            readable, _, _ = select.select(files, [], [], 0.2 if self._start_at else None)
            for index, starting in list(self._starting.items()):
                if starting in readable:
                    self._end_start(index, starting)
            for index, worker in list(self._workers.items()):
                if not worker.is_alive():
                    self._bury(index, worker)
                    if not self._has_started:  # the application does not start
                        self._kill()
                        return 1
        must_end = time.monotonic() + self._settings.drain_seconds + FINISHING_SECONDS + 1
        for worker in self._workers.values():
            worker.join(max(0.0, must_end - time.monotonic()))
        self._kill()
        return 0

    def _kill(self) -> None:
        for worker in self._workers.values():
            worker.kill()
            worker.join()
            _forget(worker)

    def _start(self, index: int) -> None:
        self._starting[index], ready = self._fork.Pipe(duplex=False)
        arguments = (self._settings, index, self._drain, self._end, self._report, ready)
        worker = self._fork.Process(target=work, args=arguments, name=f"worker-{index}")
        worker.start()
        ready.close()  # in this process: the worker's end is its own
        self._workers[index] = worker

    def _end_start(self, index: int, starting: Connection) -> None:
        """Note whether a worker listens now, or has died before."""
        del self._starting[index]
        with starting, suppress(EOFError):
            starting.recv_bytes()
            self._serving.add(index)
            self._has_started |= len(self._serving) == self._settings.processes

    def _bury(self, index: int, worker: BaseProcess) -> None:
        del self._workers[index]
        if index in self._starting:
            self._end_start(index, self._starting[index])
        _forget(worker)
        was_ready = index in self._serving
        self._serving.discard(index)
        delay = 0.0 if was_ready else self._back_off[index]
        self._back_off[index] = FIRST_BACK_OFF if was_ready else min(delay * 2, LONGEST_BACK_OFF)
        self._start_at[index] = time.monotonic() + delay
        _tell(self._report, "gone", worker.pid)
        log.error(Event("worker_died", pid=worker.pid, status=worker.exitcode, restart_in=delay))


def _forget(worker: BaseProcess) -> None:
    """Remove the gauges of a worker that has ended; its counters still count."""
    if COUNTING_FOLDER in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def work(settings: Settings, index: int, drain: int, end: int, report: int, ready: Any) -> None:
    """Be a worker: load the application, and serve it until the pipe ``drain`` ends."""
    if _has_core_for_each(settings.processes):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[index]})
    from wsgi import application

    worker = Worker(application, settings, drain, end, report, ready)
    try:
        uvloop.run(worker.serve())
    finally:
        logging.shutdown()


class Worker:
    """A worker's event loop."""

    def __init__(self, application: Any, settings: Settings, drain: int, end: int, report: int, ready: Any) -> None:
        self._application, self._settings = application, settings
        self._drain, self._end, self._report, self._ready = drain, end, report, ready

    async def serve(self) -> None:
        settings = self._settings
        bodies = Bodies(settings.body_seconds, settings.upload_folder)
        adapter = Adapter(self._application, settings.threads, settings.streams, bodies, settings.send_seconds)
        limit = _connections(settings.max_connections)
        connections.watch(settings.port, limit, adapter.busy)
        granian = Granian(
            adapter,
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGINL,
            backlog=1024,
            backpressure=limit,
            http=HTTPModes.http1,
            websockets=False,
            log_level=LogLevels.error,
            log_dictconfig={"loggers": {"_granian": {"propagate": True}}},  # to the log of the application
            ssl_cert=settings.tls.certificate,
            ssl_key=settings.tls.key,
            ssl_ca=settings.tls.client_ca,
            ssl_client_verify=settings.tls.client_ca is not None,
            ssl_protocol_min=SSLProtocols.tls12,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(settings.keep_alive * 1000), max_buffer_size=MAX_HEADERS
            ),
        )
        serving = asyncio.create_task(granian.serve())
        threading.Thread(target=self._report_state, name="report", daemon=True).start()
        draining = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._drain, draining.set)
        waiting = asyncio.create_task(draining.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            raise RuntimeError("granian has ended by itself")
        asyncio.get_running_loop().remove_reader(self._drain)
        adapter.is_draining = True
        if _has_ended(self._end):
            self._application.bind("draining", True)
        await asyncio.sleep(settings.drain_seconds)
        await asyncio.to_thread(connections.stop_listening, settings.port)
        await asyncio.sleep(FIRST_REQUEST_SECONDS)
        granian.stop()
        await asyncio.wait([serving], timeout=FINISHING_SECONDS - 2 - FIRST_REQUEST_SECONDS)
        adapter.is_ending = True
        await asyncio.wait([serving], timeout=1)
        if not serving.done():
            logging.shutdown()
            os._exit(0)  # without waiting for threads that still work

    def _report_state(self) -> None:
        """Report when this worker listens and has ended its first fetch, and then whether it has keys."""
        while not _is_listening(self._settings.port):
            time.sleep(0.02)
        self._ready.send_bytes(b"ready")
        keys = self._application.make("jwks")
        keys.wait_for_first_fetches(self._settings.jwks.timeout)
        reported = None
        while True:
            state = keys.readiness()
            if state != reported:
                reported = state
                _tell(self._report, "state", os.getpid(), state)
            time.sleep(1)


def _tell(report: int, *words: Any) -> None:
    """Write one line to the supervisor."""
    with suppress(OSError):  # it is gone, and this process ends
        os.write(report, (" ".join(map(str, words)) + "\n").encode("ascii"))


def _has_ended(pipe: int) -> bool:
    """Return whether the other end of ``pipe`` is closed. Nothing is ever written to it."""
    return bool(select.select([pipe], [], [], 0)[0])


def _is_listening(port: int) -> bool:
    """Return whether this process listens on ``port``; true if there is no ``/proc`` to look it up in."""
    if not os.path.isdir("/proc/self/fd"):
        return True
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # closed meanwhile
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                probe = socket.socket(fileno=os.dup(int(name)))
                with probe:
                    if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and probe.getsockname()[1] == port:
                        return True
    return False


def _has_core_for_each(processes: int) -> bool:
    """Return whether there are exactly as many cores as processes. Each process is then pinned to one.

    The threads of a process compute one at a time (the GIL): spread over several cores they only wait for each other.
    """
    return hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == processes


def _connections(wanted: int) -> int:
    """Return how many connections a process can hold, after asking for as many files as that takes.

    Each connection takes two: its own, and one for a body that is spooled to disk.
    """
    files = 2 * wanted + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(16, min(wanted, (soft - SPARE_FILES) // 2))


def _addresses(settings: Settings) -> str:
    """Return where a server with these settings listens: its host, and its ports or ``-``."""
    ports = (settings.port, settings.metrics_port, settings.health_port)
    return " ".join([settings.host, *(str(port or "-") for port in ports)])


def _why_not(name: str, host: str, port: int) -> str | None:
    """Return why no server could listen there. granian would share a port (``SO_REUSEPORT``) with another server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"{name} {port} is taken."
            return f"HOST {host}, {name} {port}: {error.strerror}."
        return None


def _import_what_is_shared() -> None:
    """Import what every worker needs, before they are forked: then they share its memory."""
    for name in ("zuplo_origin.http.application", "zuplo_origin.http.kernel", "config.providers", "Kernel"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a worker would write to what it shares, and so copy it


def main(drain: int, end: int, report: int, addresses: str | None = None) -> int:
    """Check the settings, and serve until the supervisor says otherwise."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # for the supervisor alone; not SIG_IGN, which programs inherit
    try:
        settings = read_settings(ConfigFiles())
    except BadSettings as bad:
        print(bad, file=sys.stderr)
        return 1
    if not settings.metrics:
        os.environ.pop(COUNTING_FOLDER, None)
    elif COUNTING_FOLDER not in os.environ:
        print("METRICS_ENABLED: there is no temporary folder that this process can write to.", file=sys.stderr)
        return 1
    ports = {"PORT": settings.port, "METRICS_PORT": settings.metrics_port, "HEALTH_PORT": settings.health_port}
    if addresses not in (None, _addresses(settings)):
        print("HOST, PORT, METRICS_PORT and HEALTH_PORT are changed by a restart alone.", file=sys.stderr)
        return 1
    for name, port in ports.items():
        why = _why_not(name, settings.host, port) if addresses is None and port is not None else None
        if why is not None:
            print(why, file=sys.stderr)
            return 1
    set_up(settings.environment, in_batches=True)
    # not written in any line, and looking them up takes as long as writing it (logging HOWTO, Optimization)
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    _import_what_is_shared()
    os.set_blocking(report, False)
    for pipe in (drain, end, report):
        os.set_inheritable(pipe, False)
    return Workers(settings, drain, end, report).run()


if __name__ == "__main__":
    drain, end, report = map(int, sys.argv[1:4])
    sys.exit(main(drain, end, report, *sys.argv[4:]))
