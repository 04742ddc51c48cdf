"""What a process that turns a loop until its end owes Python's collector and systemd."""

from __future__ import annotations

import gc

from . import systemd
from .loop import Loop, Timer

__all__ = ["Watchdog", "spare_collector"]


def spare_collector() -> None:
    """Have what lives now, which lives until the end, not walked over again and again."""
    gc.collect()
    gc.freeze()
    # A request leaves no cycles behind: look for some less often than after 700 objects.
    gc.set_threshold(10_000, 20, 50)


class Watchdog:
    """Says ``WATCHDOG=1`` where the service manager wants that; on the loop, so that one that
    hangs starves it.
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
