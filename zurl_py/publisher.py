"""The publishing socket: no packet is lost because one worker is slow.

An XPUB with ``XPUB_NODROP`` refuses a message as soon as the queue of a worker that should get it
is full. What is refused waits here, per worker, and only for that worker: all others are served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

import zmq

from .log import Log
from .loop import Loop, Timer

__all__ = ["Publisher"]

_RETRY_INTERVAL = 0.02  # seconds; a full queue has no event that tells of room in it
_MAX_WAITING = 10_000  # packets that may wait for one worker


class Publisher:
    """Sends packets to workers' addresses.

    Attributes:
        slow: the workers for whom packets wait.
        dropped: packets given up because a worker was too slow for too long.
    """

    def __init__(self, socket: zmq.Socket[bytes], loop: Loop, log: Log) -> None:
        self._socket = socket
        self._send = socket.send
        self._loop = loop
        self._log = log
        self._timer = Timer(self._retry)
        self._waiting: dict[bytes, deque[bytes]] = {}
        self.slow: Collection[bytes] = self._waiting.keys()
        self._told: dict[bytes, list[Callable[[], None]]] = {}
        self.dropped = 0

    def publish(self, address: bytes, packet: bytes) -> None:
        """Send ``packet`` to the worker that subscribed to ``address`` and a space."""
        message = address + b" " + packet
        if self._waiting and address in self._waiting:
            self._wait(address, message)
            return
        try:
            self._send(message, zmq.NOBLOCK)
        except zmq.Again:
            self._wait(address, message)

    def when_caught_up(self, address: bytes, tell: Callable[[], None]) -> None:
        """Call ``tell`` once when nothing waits any more for a worker who is slow now."""
        self._told.setdefault(address, []).append(tell)

    def _wait(self, address: bytes, message: bytes) -> None:
        queue = self._waiting.get(address)
        if queue is None:
            queue = self._waiting[address] = deque()
            self._loop.set_timer(self._timer, self._loop.now + _RETRY_INTERVAL)
            self._log.warning(f"the worker {show_address(address)} is slow; its packets wait")
        if len(queue) >= _MAX_WAITING:
            if self.dropped % 1000 == 0:
                self._log.error(
                    f"the worker {show_address(address)} is too slow: dropping packets "
                    f"({self.dropped} so far)"
                )
            self.dropped += 1
            return
        queue.append(message)

    def _retry(self) -> None:
        for address, queue in list(self._waiting.items()):
            try:
                while queue:
                    self._send(queue[0], zmq.NOBLOCK)
                    queue.popleft()
            except zmq.Again:
                continue
            del self._waiting[address]
            for tell in self._told.pop(address, ()):
                tell()
        if self._waiting:
            self._loop.set_timer(self._timer, self._loop.now + _RETRY_INTERVAL)


def show_address(address: bytes) -> str:
    """An address for a log line."""
    return ascii(address[:64].decode("utf-8", "replace"))
