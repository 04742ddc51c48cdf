"""The usual metrics of a process, with the names of Prometheus' client libraries."""

from __future__ import annotations

import functools
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from .families import Family, Gauge, Observed

__all__ = ["ProcessFigures", "process_families", "read_process"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """The kernel's figures of this process.

    Attributes:
        cpu_seconds: user and system time.
        virtual_bytes, resident_bytes: memory.
        started: seconds since 1970.
        descriptors, descriptors_limit: number of open ones, and the limit.
    """

    cpu_seconds: float
    virtual_bytes: int
    resident_bytes: int
    started: float
    descriptors: int
    descriptors_limit: int


def read_process() -> ProcessFigures:
    """Read the figures from proc(5)."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    # Fields 14, 15, 22, 23 and 24 of proc_pid_stat(5); the first two were cut off.
    user, system, start, virtual, resident = (int(fields[i]) for i in (11, 12, 19, 20, 21))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ProcessFigures(
        cpu_seconds=(user + system) / _TICKS,
        virtual_bytes=virtual,
        resident_bytes=resident * _PAGE,
        started=_booted() + start / _TICKS,
        descriptors=_descriptors(),
        descriptors_limit=limit,
    )


def process_families(figures: Callable[[], ProcessFigures]) -> list[Family]:
    """The usual metrics of a process.

    Args:
        figures: called whenever one of them is read.
    """
    return [
        Observed(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds.",
            lambda: figures().cpu_seconds,
        ),
        Gauge(
            "process_open_fds", "Number of open file descriptors.", lambda: figures().descriptors
        ),
        Gauge(
            "process_max_fds",
            "Maximum number of open file descriptors.",
            lambda: figures().descriptors_limit,
        ),
        Gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            lambda: figures().virtual_bytes,
        ),
        Gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            lambda: figures().resident_bytes,
        ),
        Gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            lambda: figures().started,
        ),
    ]


@functools.cache
def _booted() -> float:
    """Time when the machine was started; /proc/stat may be hidden from a service (ProcSubset=)."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _descriptors() -> int:
    # Since Linux 6.2 the directory's size is the number of descriptors; a listing takes
    # milliseconds.
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
