"""Later packets that are here before the first packet of their session.

The two come by different sockets, which are read by turns, and first packets may have to queue: so
a packet that belongs to no session may be one that is early. It waits for a moment.
"""

from __future__ import annotations

from collections.abc import Callable

from ..loop import Loop, Timer
from ..zhttp import RequestPacket

__all__ = ["ReorderBuffer"]

_GRACE = 0.02  # seconds
_PATIENCE = 5.0  # seconds, where first packets queue
_MAX_WAITING = 1000  # packets

_Key = tuple[bytes, bytes]  # a worker's address and its id for the session


class ReorderBuffer:
    """Keeps packets until their session begins, or is not to be expected any more.

    Args:
        blocked: whether first packets queue: then that of any session may be among them.
        give_up: told of a packet, and its id, that no session came for.
    """

    def __init__(
        self,
        loop: Loop,
        blocked: Callable[[], bool],
        give_up: Callable[[RequestPacket, bytes], None],
    ) -> None:
        self._loop = loop
        self._blocked = blocked
        self._give_up = give_up
        # Since when, and what; in order of time.
        self._waiting: dict[_Key, tuple[float, list[tuple[RequestPacket, int | None]]]] = {}
        self._count = 0
        self._timer = Timer(self._give_up_old)

    def keep(self, key: _Key, packet: RequestPacket, seq: int | None) -> bool:
        """Keep a packet with its number in the session; False if too many are here already."""
        if self._count >= _MAX_WAITING:
            return False
        self._count += 1
        if not self._waiting:
            self._loop.set_timer(self._timer, self._loop.now + _GRACE)
        self._waiting.setdefault(key, (self._loop.now, []))[1].append((packet, seq))
        return True

    def take(self, key: _Key) -> list[tuple[RequestPacket, int | None]]:
        """The packets of a session that has begun, in their order."""
        if key not in self._waiting:
            return []
        _, packets = self._waiting.pop(key)
        self._count -= len(packets)
        return packets

    def _give_up_old(self) -> None:
        now = self._loop.now
        patience = _PATIENCE if self._blocked() else _GRACE
        for key in [key for key, (since, _) in self._waiting.items() if since + patience <= now]:
            for packet, _ in self.take(key):
                self._give_up(packet, key[1])
        if self._waiting:
            oldest, _ = next(iter(self._waiting.values()))
            self._loop.set_timer(self._timer, max(oldest, now) + _GRACE)
