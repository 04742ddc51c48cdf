"""The garbage collector and systemd's watchdog, for a process that runs a loop."""

from __future__ import annotations

import gc

from . import systemd
from .loop import Loop, Timer

__all__ = ["Watchdog", "spare_collector"]


def spare_collector() -> None:
    """Exclude objects that exist now, and live until the end, from garbage collection."""
    gc.collect()
    gc.freeze()
    # A request leaves no reference cycles: collect less often than after 700 objects.
    gc.set_threshold(10_000, 20, 50)


class Watchdog:
    """Sends ``WATCHDOG=1`` where the service manager wants it; by a timer of the loop, so that it
    stops when the loop hangs.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._interval = systemd.watchdog_interval()
        self._timer = Timer(self._feed)
        self._feed()

    def _feed(self) -> None:
        if self._interval is not None:
            systemd.notify("WATCHDOG=1")
            self._loop.set_timer(self._timer, self._loop.now + self._interval)
