"""How much freed memory the C library keeps, and how much it returns to the kernel.

Bodies come in pieces of many pages, and each new page costs a page fault: a fifth of the processor
time of a download. So glibc is told to keep some freed memory (``mallopt(3)``). But it also keeps
any amount of memory below a piece that is still in use; so from time to time it is told to return
that (``malloc_trim(3)``).
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
_LARGE: Final = 1 << 20  # bytes; larger pieces are allocated by mmap, and returned when freed
# To return a megabyte takes a third of a millisecond, to allocate it again as long. So it is done
# for at least this much, and not more often than this.
_WORTHWHILE: Final = 32 << 20  # bytes
_INTERVAL: Final = 5.0  # seconds
_SAME: Final = 1 << 20  # bytes; if memory has changed by less, there is nothing to do


class MemoryKeeper:
    """Checks from time to time whether memory has grown, and returns unused memory.

    Args:
        resident: returns the bytes of resident memory of this process.
        trim: makes the C library return what it can.
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
        self._timer = Timer(self._check)
        loop.set_timer(self._timer, loop.now + _INTERVAL)

    def _check(self) -> None:
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
    """A function that calls one of glibc; it does nothing where there is none, as with musl."""
    function: Any = getattr(ctypes.CDLL(None), name, None)

    def call() -> None:
        if function is not None:
            function(*arguments)

    return call
