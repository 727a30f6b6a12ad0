"""A server: a process that forks workers, and each worker's event loop around granian.

The supervisor runs ``python -m zuplo_origin.server.workers DRAIN END REPORT [ADDRESSES]``: three file descriptors of
pipes, and the addresses of the running server, which a new one must share.
"""

import asyncio
import errno
import gc
import importlib
import importlib.util
import logging
import multiprocessing
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server as Granian

from zuplo_origin.faults import explain, print_fault, problems_with_server
from zuplo_origin.health import readiness
from zuplo_origin.http.injection import check_parameters
from zuplo_origin.observability import COUNTING_FOLDER
from zuplo_origin.observability.logs import Event, set_up, warn_of_open_routes
from zuplo_origin.settings import CANNOT_START, BadSettings, Settings, read_settings

from . import connections
from .adapter import Adapter
from .bodies import Bodies
from .memory import budget, memory_limit

log = logging.getLogger("zuplo_origin.server")

MAX_HEADERS = 32_768
"""Bytes of a request's line and headers that granian reads at a time. It responds with 431 to headers that take more
than two such reads, or to more than 100 headers.
"""
STARTING_STEPS = 16
"""Steps of the event loop within which granian listens: it takes two."""
SPARE_FILES = 256
"""File descriptors that are not for connections."""
FINISHING_SECONDS = 8.0
"""Time that a worker has to finish its requests, after it has stopped accepting."""
FIRST_REQUEST_SECONDS = 0.5
"""Time in which a connection that was just accepted must send its request, after the worker has stopped accepting."""
LOADED, READY = b"loaded", b"ready"
"""What a worker sends when it has loaded the application, and when it listens."""
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.25, 30.0
"""Seconds between the death of a worker and the start of the next one: doubled for each start until one is ready."""


class Pipes(NamedTuple):
    """File descriptors: the supervisor closes its ends of ``drain`` and ``end``, and reads lines from ``report``.

    ``drain`` stops this server; ``end``, closed before it, says that no other server takes over.
    """

    drain: int
    end: int
    report: int

    def write_report(self, *words: Any) -> None:
        """Send a line to the supervisor."""
        with suppress(OSError):  # the supervisor has ended, and this process ends next
            os.write(self.report, (" ".join(map(str, words)) + "\n").encode("ascii", "replace"))

    def write_failure(self, cause: object) -> None:
        """Report to the supervisor, in one line, why this server does not start."""
        self.write_report("failed", *str(cause)[:500].split())


class ConfigFiles:
    """The modules in ``config/``, read without starting the application, which is left to the workers."""

    def get(self, path: str, default: Any = None) -> Any:
        module, _, name = path.partition(".")
        if importlib.util.find_spec(f"config.{module}") is None:
            return default
        return getattr(importlib.import_module(f"config.{module}"), name.upper(), default)


class Workers:
    """The workers of a server."""

    def __init__(self, settings: Settings, pipes: Pipes) -> None:
        self._settings, self._pipes = settings, pipes
        self._fork = multiprocessing.get_context("fork")
        self._workers: dict[int, BaseProcess] = {}
        self._start_at: dict[int, float] = {0: 0.0}  # the others follow when the first one has loaded the application
        self._is_loaded = False
        self._back_off = [FIRST_BACK_OFF] * settings.processes
        self._starting: dict[int, Connection] = {}
        self._ready: set[int] = set()
        self._were_all_ready = False

    def run(self) -> int:
        """Keep all workers running until the supervisor stops this server, and return the exit status."""
        settings = self._settings
        self._pipes.write_report("started", settings.processes, settings.drain_seconds, _addresses(settings))
        while not _is_closed(self._pipes.drain):
            for index, at in list(self._start_at.items()):
                if time.monotonic() >= at:
                    del self._start_at[index]
                    self._start(index)
            sentinels = [worker.sentinel for worker in self._workers.values()]
            files: list[Any] = [self._pipes.drain, *sentinels, *self._starting.values()]
            readable, _, _ = select.select(files, [], [], 0.2 if self._start_at else None)
            for index, starting in list(self._starting.items()):
                if starting in readable:
                    self._read_start(index, starting)
            for index, worker in list(self._workers.items()):
                if not worker.is_alive():
                    self._end(index, worker)
                    if not self._were_all_ready:  # the application does not start
                        if worker.exitcode != CANNOT_START:  # it has not said why
                            log.error(Event("worker_died", pid=worker.pid, status=worker.exitcode))
                        self._kill_all()
                        return 1
                    self._schedule_restart(index, worker)
        must_end = time.monotonic() + settings.drain_seconds + FINISHING_SECONDS + 1
        for worker in self._workers.values():
            worker.join(max(0.0, must_end - time.monotonic()))
        self._kill_all()
        return 0

    def _kill_all(self) -> None:
        for worker in self._workers.values():
            worker.kill()
            worker.join()
            _remove_gauges(worker)

    def _start(self, index: int) -> None:
        self._starting[index], ready = self._fork.Pipe(duplex=False)
        arguments = (self._settings, index, self._pipes, ready)
        worker = self._fork.Process(target=run_worker, args=arguments, name=f"worker-{index}")
        worker.start()
        ready.close()  # in this process: the pipe ends when the worker does
        self._workers[index] = worker

    def _read_start(self, index: int, starting: Connection) -> None:
        """Note that a worker has loaded the application, has become ready, or has died before."""
        try:
            message = starting.recv_bytes()
        except EOFError:
            message = b""
        if message == LOADED:
            if not self._is_loaded:
                self._is_loaded = True
                self._start_at |= dict.fromkeys(range(1, self._settings.processes), 0.0)
            return
        del self._starting[index]
        starting.close()
        if message == READY:
            self._ready.add(index)
            self._were_all_ready |= len(self._ready) == self._settings.processes

    def _end(self, index: int, worker: BaseProcess) -> None:
        """Forget a worker that has ended."""
        del self._workers[index]
        while index in self._starting:
            self._read_start(index, self._starting[index])
        _remove_gauges(worker)
        self._pipes.write_report("gone", worker.pid)

    def _schedule_restart(self, index: int, worker: BaseProcess) -> None:
        was_ready = index in self._ready
        self._ready.discard(index)
        delay = 0.0 if was_ready else self._back_off[index]
        self._back_off[index] = FIRST_BACK_OFF if was_ready else min(delay * 2, LONGEST_BACK_OFF)
        self._start_at[index] = time.monotonic() + delay
        log.error(Event("worker_died", pid=worker.pid, status=worker.exitcode, restart_in=delay))


def _remove_gauges(worker: BaseProcess) -> None:
    """Remove the gauges of a worker that has ended from the metrics; its counters stay."""
    if COUNTING_FOLDER in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def run_worker(settings: Settings, index: int, pipes: Pipes, ready: Connection) -> None:
    """Load the application, and serve it until the supervisor stops this server."""
    if _has_core_for_each(settings.processes):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[index]})
    application = _load_application(pipes)
    ready.send_bytes(LOADED)
    if index == 0:
        warn_of_open_routes(application)
        for issuer in settings.issuers:
            if issuer.on_loopback and settings.environment == "production":
                log.warning(Event("server_issuer_on_loopback", issuer=issuer.name))
    try:
        uvloop.run(_serve(application, settings, pipes, ready))
    finally:
        logging.shutdown()


def _load_application(pipes: Pipes) -> Any:
    """Return ``wsgi.application``. If it cannot be loaded, print the cause, report it to the supervisor, and exit."""
    try:
        from wsgi import application

        check_parameters(application)
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) or error.code != CANNOT_START:  # otherwise, the reason has been printed
            _fail(error, pipes)
        raise SystemExit(CANNOT_START) from None
    if problem := next(problems_with_server(application), None):
        print(f"Cannot start: {problem}", file=sys.stderr)
        pipes.write_failure(problem)
        raise SystemExit(CANNOT_START)
    return application


def _fail(error: BaseException, pipes: Pipes) -> None:
    print_fault(error, Path.cwd())
    pipes.write_failure(explain(error, Path.cwd()))


async def _serve(application: Any, settings: Settings, pipes: Pipes, ready: Connection) -> None:
    limits = budget(settings, memory_limit())
    bodies = Bodies(settings.body_seconds, settings.max_body, settings.upload_folder, limits.bodies)
    adapter = Adapter(application, settings.threads, settings.streams, bodies, settings.send_seconds)
    limit = _max_connections(limits.connections)
    connections.Watch(settings.port, limit, limits.unread, adapter).start()
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
        log_dictconfig={"loggers": {"_granian": {"propagate": True}}},  # to the application's log
        ssl_cert=settings.tls.certificate,
        ssl_key=settings.tls.key,
        ssl_ca=settings.tls.client_ca,
        ssl_client_verify=settings.tls.client_ca is not None,
        ssl_protocol_min=SSLProtocols.tls12,
        http1_settings=HTTP1Settings(header_read_timeout=int(settings.keep_alive * 1000), max_buffer_size=MAX_HEADERS),
    )
    serving = asyncio.create_task(granian.serve())
    for _ in range(STARTING_STEPS):
        await asyncio.sleep(0)
        if connections.limit_sending(settings.port, settings.send_seconds):
            adapter.send_seconds = None
            break
    reporter = threading.Thread(target=_report_state, args=(application, settings, pipes, ready), daemon=True)
    reporter.start()
    loop, draining = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pipes.drain, draining.set)
    waiting = asyncio.create_task(draining.wait())
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        raise RuntimeError("granian ended unexpectedly")
    loop.remove_reader(pipes.drain)
    adapter.is_draining = True
    ends_at = time.monotonic() + settings.drain_seconds + FINISHING_SECONDS
    if _is_closed(pipes.end):
        application.bind("draining", True)
    await asyncio.sleep(settings.drain_seconds)
    await asyncio.to_thread(connections.stop_listening, settings.port)
    await asyncio.sleep(FIRST_REQUEST_SECONDS)
    granian.stop()
    await asyncio.wait([serving], timeout=FINISHING_SECONDS - 2 - FIRST_REQUEST_SECONDS)
    adapter.is_ending = True
    await asyncio.wait([serving], timeout=1)
    if application.has("queue.async"):  # the threads that run jobs end with this process
        await asyncio.to_thread(application.make("queue.async").stop, ends_at - time.monotonic())
    if not serving.done():
        logging.shutdown()
        os._exit(0)  # without waiting for threads that still work


def _report_state(application: Any, settings: Settings, pipes: Pipes, ready: Connection) -> None:
    """Report when this worker listens and has ended its first fetch of keys, and then each change of its readiness."""
    while not connections.is_listening(settings.port):
        time.sleep(0.02)
    ready.send_bytes(READY)
    keys = application.make("jwks")
    keys.wait_for_first_fetches(settings.jwks.timeout)
    reported = None
    while True:
        state = readiness(application) if settings.health_port else keys.readiness()
        if state != reported:
            reported = state
            pipes.write_report("state", os.getpid(), state)
        time.sleep(1)


def _is_closed(pipe: int) -> bool:
    """Return whether the other end of ``pipe`` is closed. Nothing is ever written to it."""
    return bool(select.select([pipe], [], [], 0)[0])


def _has_core_for_each(processes: int) -> bool:
    """Return whether there are exactly as many cores as workers. Each worker is then pinned to one.

    The threads of a worker compute one at a time (the GIL): on several cores they only wait for each other.
    """
    return hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == processes


def _max_connections(wanted: int) -> int:
    """Return the number of connections that this process can open, after raising its limit of open files.

    A connection takes two file descriptors: its own, and one for a body that is spooled to disk.
    """
    files = 2 * wanted + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(16, min(wanted, (soft - SPARE_FILES) // 2))


def _addresses(settings: Settings) -> str:
    """Return the host, and the three ports or ``-``, of a server with these settings."""
    ports = (settings.port, settings.metrics_port, settings.health_port)
    return " ".join([settings.host, *(str(port or "-") for port in ports)])


def _problem_with_port(name: str, host: str, port: int) -> str | None:
    """Return why no server can listen on a port. granian would share it (``SO_REUSEPORT``) with another server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"{name}: {port} is in use; stop the process that listens there, or set another port"
            return f"HOST, {name}: cannot listen on {host}, port {port}: {error.strerror}"
    return None


def _problem_with_environment(settings: Settings, addresses: str | None) -> str | None:
    """Return why no server with these settings can run here, beside one at ``addresses`` if there is one."""
    if settings.environment == "local":
        return "APP_ENV: local is for craft serve; expected production or testing"
    if settings.metrics and COUNTING_FOLDER not in os.environ:
        return "METRICS_ENABLED: no temporary folder is writable; set TMPDIR to one that is"
    if addresses is not None:
        if addresses == _addresses(settings):
            return None
        return "HOST, PORT, METRICS_PORT, HEALTH_PORT: changed in a reload; restart the server to change them"
    ports = {"PORT": settings.port, "METRICS_PORT": settings.metrics_port, "HEALTH_PORT": settings.health_port}
    found = (_problem_with_port(name, settings.host, port) for name, port in ports.items() if port is not None)
    return next(filter(None, found), None)


def _import_shared_modules() -> None:
    """Import what every worker needs before they are forked, so that they share its memory."""
    for name in ("zuplo_origin.http.application", "zuplo_origin.http.kernel", "config.providers", "Kernel"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a garbage collection in a worker would write to shared memory, and so copy it


def main(pipes: Pipes, addresses: str | None = None) -> int:
    """Check the settings, serve until the supervisor stops this server, and return the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the supervisor handles them; not SIG_IGN, which programs inherit
    try:
        settings = read_settings(ConfigFiles())
    except BadSettings as bad:
        print(bad, file=sys.stderr)
        pipes.write_failure(bad)
        return 1
    except Exception as error:  # a module in config/ cannot be imported
        _fail(error, pipes)
        return 1
    if (problem := _problem_with_environment(settings, addresses)) is not None:
        print(problem, file=sys.stderr)
        pipes.write_failure(problem)
        return 1
    if not settings.metrics:
        os.environ.pop(COUNTING_FOLDER, None)
    set_up(settings.environment, in_batches=True)
    # no log line contains these, and looking them up takes as long as writing it (logging HOWTO, Optimization)
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    try:
        _import_shared_modules()
    except Exception as error:
        _fail(error, pipes)
        return 1
    os.set_blocking(pipes.report, False)
    for pipe in pipes:
        os.set_inheritable(pipe, False)
    return Workers(settings, pipes).run()


if __name__ == "__main__":
    sys.exit(main(Pipes(*map(int, sys.argv[1:4])), *sys.argv[4:]))
