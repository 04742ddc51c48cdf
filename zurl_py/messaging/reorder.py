"""The reorder buffer: later packets that come before the first packet of their session.

The two come over different sockets, which are read in turns, and first packets may have to queue.
So the session of a packet may not have begun yet: the packet waits for a moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..loop import Loop, Timer
from ..zhttp import RequestPacket

__all__ = ["ReorderBuffer"]

_GRACE = 0.02  # seconds that a packet waits for its session
_LONG_GRACE = 5.0  # seconds that it waits while first packets queue
_MAX_WAITING = 1000  # packets
_MAX_WAITING_SIZE = 16 << 20  # bytes of the messages that hold them

_Key = tuple[bytes, bytes]  # a worker's address and its id for the session


@dataclass(slots=True)
class _EarlyPackets:
    """Packets that wait for one session.

    Attributes:
        since: time when the first of them came; seconds.
        packets: the packets with their sequence numbers, in order.
        size: bytes of all messages.
    """

    since: float
    packets: list[tuple[RequestPacket, int | None]] = field(default_factory=list)
    size: int = 0


class ReorderBuffer:
    """Keeps packets until their session begins, or can no longer be expected.

    Args:
        blocked: whether first packets queue; that of any session may be among them.
        give_up: called with each packet, and its id, for which no session began.
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
        self._waiting: dict[_Key, _EarlyPackets] = {}  # in order of arrival
        self._count = 0
        self._size = 0
        self._timer = Timer(self._give_up_overdue)

    def __repr__(self) -> str:
        return f"<ReorderBuffer packets={self._count} bytes={self._size}>"

    def keep(self, key: _Key, packet: RequestPacket, seq: int | None, size: int) -> bool:
        """Keep a packet; False if there is no room for it.

        Args:
            seq: its sequence number in the session.
            size: bytes of the message that holds it.
        """
        if self._count >= _MAX_WAITING or self._size + size > _MAX_WAITING_SIZE:
            return False
        self._count += 1
        self._size += size
        if not self._waiting:
            self._loop.set_timer(self._timer, self._loop.now + _GRACE)
        early = self._waiting.setdefault(key, _EarlyPackets(self._loop.now))
        early.packets.append((packet, seq))
        early.size += size
        return True

    def take(self, key: _Key) -> list[tuple[RequestPacket, int | None]]:
        """The packets of a session that has begun, in their order."""
        early = self._waiting.pop(key, None)
        if early is None:
            return []
        self._count -= len(early.packets)
        self._size -= early.size
        return early.packets

    def _give_up_overdue(self) -> None:
        now = self._loop.now
        grace = _LONG_GRACE if self._blocked() else _GRACE
        for key in [key for key, early in self._waiting.items() if early.since + grace <= now]:
            for packet, _ in self.take(key):
                self._give_up(packet, key[1])
        if self._waiting:
            oldest = next(iter(self._waiting.values()))
            self._loop.set_timer(self._timer, max(oldest.since, now) + _GRACE)
