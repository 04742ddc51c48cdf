"""What the C library does with freed memory: some is kept, and the rest goes back.

Bodies come in pieces of many pages, each of which costs a page fault when it is had anew: a fifth
of the processor time of a download. So glibc is told to keep some (``mallopt(3)``). But what is
freed below a piece that lives on is kept as well, however much it is; so now and then it is told to
give that back (``malloc_trim(3)``).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any, Final

from .loop import Loop, Timer

__all__ = ["MemoryKeeper"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
_KEPT: Final = 8 << 20  # bytes
_LARGE: Final = 1 << 20  # bytes; what is larger is had from the kernel and given back each time
# Giving back takes a third of a millisecond for each megabyte, and having it anew as long: not for
# less than this, and not more often.
_WORTHWHILE: Final = 32 << 20  # bytes
_INTERVAL: Final = 5.0  # seconds
_SAME: Final = 1 << 20  # bytes; memory that has changed by less is not looked at again


class MemoryKeeper:
    """Looks from time to time whether memory has grown, and gives back what is not used any more.

    Args:
        resident: bytes of memory that this process has.
        trim: has the C library give back what it can.
    """

    def __init__(
        self,
        loop: Loop,
        resident: Callable[[], int] | None = None,
        trim: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._resident = resident or _resident
        self._trim = trim or _glibc("malloc_trim", 0)
        _glibc("mallopt", _M_TRIM_THRESHOLD, _KEPT)()
        _glibc("mallopt", _M_MMAP_THRESHOLD, _LARGE)()
        self._lowest = self._last = self._resident()
        self._timer = Timer(self._look)
        loop.set_timer(self._timer, loop.now + _INTERVAL)

    def _look(self) -> None:
        used = self._resident()
        if used > self._lowest + _WORTHWHILE and abs(used - self._last) > _SAME:
            self._trim()
            used = self._resident()
        self._last = used
        self._lowest = min(self._lowest, used)
        self._loop.set_timer(self._timer, self._loop.now + _INTERVAL)


def _resident() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _glibc(name: str, *arguments: int) -> Callable[[], None]:
    """A call of a function that glibc has, and musl has not."""
    function: Any = getattr(ctypes.CDLL(None), name, None)

    def call() -> None:
        if function is not None:
            function(*arguments)

    return call
