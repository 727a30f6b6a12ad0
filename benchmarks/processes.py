"""CPU time and memory of a server and its processes, from Linux' ``/proc``."""

import os
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return ``pid`` and all processes below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """Return the processor time that ``pid`` and all processes below it have used, in seconds."""
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Return the resident memory of ``pid`` in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def largest_mib(pid: int) -> float:
    """Return the resident memory of the largest process below ``pid``, or of itself if there is none, in MiB."""
    return max(resident_mib(one) for one in family(pid)[1:] or [pid])
