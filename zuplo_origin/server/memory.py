"""The memory that this process may use, and how a worker divides its part of it."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zuplo_origin.settings import Settings

CONNECTION_BYTES = 48 * 1024
"""Bytes that a connection takes in a worker while it holds 28 KiB of unfinished headers (measured: 42 KiB)."""
BODIES_BYTES = UNREAD_BYTES = 32 * 1_048_576
FEWEST_CONNECTIONS, FEWEST_BYTES = 64, 1_048_576
_CGROUPS = "/sys/fs/cgroup"


@dataclass(frozen=True)
class Budget:
    """The limits of one worker: connections, bytes of bodies in memory, and bytes in the kernel's socket buffers."""

    connections: int
    bodies: int = BODIES_BYTES
    unread: int = UNREAD_BYTES


def budget(settings: Settings, limit: int) -> Budget:
    """Return the budget of each worker, if all processes together may use ``limit`` bytes.

    Connections take at most a quarter of the memory, bodies and unread data a sixteenth each. The rest is for the
    processes themselves, and for a second server during a reload.
    """
    share = limit // settings.processes
    return Budget(
        min(settings.max_connections, max(FEWEST_CONNECTIONS, share // 4 // CONNECTION_BYTES)),
        min(BODIES_BYTES, max(FEWEST_BYTES, share // 16)),
        min(UNREAD_BYTES, max(FEWEST_BYTES, share // 16)),
    )


def memory_limit() -> int:
    """Return the bytes of memory that this process may use: the least of its cgroups' limits and the machine's memory.

    A container sees its own cgroup at the top of ``/sys/fs/cgroup``. Version 2 of cgroups has ``memory.max``, version 1
    ``memory.limit_in_bytes``.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder, name in _own_cgroups():
        for each in (folder, *folder.parents):
            with suppress(OSError, ValueError):  # not a cgroup, one without this file, or "max"
                limits.append(int((each / name).read_text()))
            if str(each) == _CGROUPS:
                break
    return min(limits)


def _own_cgroups() -> list[tuple[Path, str]]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        own = path.lstrip("/")
        if controllers == "":
            found.append((Path(_CGROUPS, own), "memory.max"))
        elif "memory" in controllers.split(","):
            found.append((Path(_CGROUPS, "memory", own), "memory.limit_in_bytes"))
    return found
