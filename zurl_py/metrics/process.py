"""The usual metrics of a process, by the names that Prometheus' client libraries have for them."""

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
    """What the kernel knows of this process.

    Attributes:
        cpu_seconds: user and system time.
        virtual_bytes, resident_bytes: memory.
        started: seconds since 1970.
        descriptors, descriptors_limit: open, and how many may be.
    """

    cpu_seconds: float
    virtual_bytes: int
    resident_bytes: int
    started: float
    descriptors: int
    descriptors_limit: int


def read_process() -> ProcessFigures:
    """Ask the kernel, by proc(5)."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    # Fields 14, 15, 22, 23 and 24 of the page, of which the first two are cut off.
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
        figures: asked whenever one of them is read.
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
    """When the machine was started; /proc/stat may be hidden from a service (ProcSubset=)."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _descriptors() -> int:
    # Since Linux 6.2 the directory's size is their number; to list them takes milliseconds.
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
