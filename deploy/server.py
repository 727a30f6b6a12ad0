"""The production server: ``python -m deploy.server``, the ``web:`` line of the Procfile.

Settings come from the environment alone, and are checked before anything listens. TERM ends it once the requests under
way are answered; HUP replaces its processes one after the other.
"""

import gc
import importlib
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from app.log.set_up import set_up
from app.settings.Settings import BadSettings, Settings, read_settings
from app.telemetry import COUNTING_FOLDER

from .GracefulServer import GracefulServer

MAX_HEADERS = 32_768
"""Bytes that are read of a request's line and headers at a time: of what takes more than two such reads, and of more
than 100 headers, the server itself says 431.
"""
HEADER_SECONDS = 10
"""Seconds that a client may take to send them."""
CONNECTIONS = 8192
"""That a process holds at once, idle ones included; more wait. An idle one is closed after ``HEADER_SECONDS``."""
SPARE_FILES = 64
"""File descriptors that are left to everything else."""


class ConfigFiles:
    """The modules in ``config/``, read without starting the application: that is for the processes to do."""

    def get(self, path: str, default: Any = None) -> Any:
        module, _, name = path.partition(".")
        return getattr(importlib.import_module(f"config.{module}"), name.upper(), default)


def _has_core_for_each(processes: int) -> bool:
    """Whether there are just as many cores as processes. Then each gets one of its own.

    The threads of a process compute one at a time (the GIL): spread over several cores they only wait for each other.
    On two cores, this was worth a fifth of the throughput. On a larger machine, others are to choose theirs freely.
    """
    return hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == processes


def _connections() -> int:
    """Return how many connections a process can hold, after asking for as many files as that takes."""
    wanted = CONNECTIONS + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, soft - SPARE_FILES))


def server(settings: Settings) -> GracefulServer:
    """Return the server that ``settings`` ask for: granian, whose side of HTTP is compiled."""
    return GracefulServer(
        "deploy.asgi:application",
        address="0.0.0.0",  # noqa: S104  # behind a gateway, from other machines
        port=settings.port,
        interface=Interfaces.ASGINL,
        workers=settings.processes,
        backpressure=_connections(),
        http=HTTPModes.http1,
        websockets=False,
        log_dictconfig={"loggers": {"_granian": {"propagate": True}}},  # to the log of the application
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=MAX_HEADERS),
        on_core=_has_core_for_each(settings.processes),
        prepare=partial(_wait_for_keys, settings.jwks.timeout),
        forget=_forget,
    )


def _wait_for_keys(seconds: float) -> None:
    """Until the first fetches are over: the process that is replaced answers meanwhile."""
    from wsgi import application

    application.make("jwks").wait_for_first_fetches(seconds)


def _import_what_is_shared() -> None:
    """Import what every process needs, before they are forked: then they share its memory."""
    for name in ("app.foundation.Application", "app.foundation.FrameworkKernel", "config.providers", "Kernel"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a process would write to what it shares, and so copy it


def _is_free(port: int) -> bool:
    """Whether a server could listen there.

    granian itself would end in a panic, or share the port with another one, whose settings may be others.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104
        except OSError:
            return False
        return True


@contextmanager
def _counting(settings: Settings) -> Iterator[None]:
    """While the block runs, there is a folder where the processes meet that count together."""
    if not settings.metrics:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="zuplo-origin-metrics-") as folder:
        os.environ[COUNTING_FOLDER] = folder
        if settings.metrics_port is not None:
            from app.telemetry import exposition

            try:
                exposition.serve(settings.metrics_port)
            except OSError:
                sys.exit(f"METRICS_PORT {settings.metrics_port} is taken.")
        yield


def _forget(pid: int) -> None:
    """Let what a process was the only one to know end with it."""
    if COUNTING_FOLDER in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _end_early(number: int, frame: Any) -> None:
    sys.exit(0)


def _is_needed(record: logging.LogRecord) -> bool:
    """Whether a line of granian's is: it warns of as many threads as there are here by default, most of which wait."""
    return "Python threads" not in record.getMessage()


def main() -> None:
    """Check the settings, and serve in the foreground."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_early)  # until granian listens
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        settings = read_settings(ConfigFiles())
    except BadSettings as bad:
        sys.exit(str(bad))
    if not _is_free(settings.port):
        sys.exit(f"PORT {settings.port} is taken.")
    set_up(settings.environment)
    # not written in any line, and looking them up takes as long as writing it (logging HOWTO, Optimization)
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("_granian").addFilter(_is_needed)
    with _counting(settings):
        _serve(settings)


def _serve(settings: Settings) -> None:
    _import_what_is_shared()
    try:
        server(settings).serve()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # it is ending


if __name__ == "__main__":
    main()
