"""Freed memory goes back, where there is much of it, and not over and over."""

from __future__ import annotations

from tests.support.clock import Clock
from zurl_py.loop import Loop
from zurl_py.memory import MemoryKeeper

_MB = 1 << 20


class Heap:
    """Memory of which a trim gives back what is free."""

    def __init__(self) -> None:
        self.used, self.free, self.trims = 40 * _MB, 0, 0

    def resident(self) -> int:
        return self.used + self.free

    def trim(self) -> None:
        self.trims += 1
        self.free = 0


def test_unused_memory_is_returned_once() -> None:
    clock, heap = Clock(), Heap()
    loop = Loop(clock)
    keeper = MemoryKeeper(loop, heap.resident, heap.trim)
    assert keeper is not None

    def later() -> int:
        clock.now += 6.0
        loop.turn(wait=False)
        return heap.trims

    assert later() == 0
    heap.free = 10 * _MB
    assert later() == 0, "not worth it"
    heap.used, heap.free = 200 * _MB, 300 * _MB
    assert later() == 1
    assert later() == 1, "what is in use cannot be given back"
    heap.used, heap.free = 50 * _MB, 120 * _MB
    assert later() == 2, "less than before, and still too much"
    assert heap.resident() == 50 * _MB
    assert later() == 2
    loop.close()
