"""Transfers that take much of the loop's time, of which each gets a little in its turn.

One call of libcurl serves all transfers of a multi handle that have more to read, and for each it
reads up to 22 times its buffer, which may be hundreds of thousands of chunks, or an extension of a
chunk of which it reports nothing. So a transfer that reads much in a long call is paused when the
call is over. When its turn comes, it is resumed alone, for one call, in which it reads as much as
takes a fifth of a millisecond.

The next transfers from an address that has sent such things begin with that limit.
"""

from __future__ import annotations

import array
import fcntl
import termios
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from ..cache import remember
from ..loop import Loop
from .handles import EasyHandle
from .multi import Multi

__all__ = ["FIRST_PORTION", "LEAST_PORTION", "LONG_CALL", "Throttle", "Throttled"]

LONG_CALL: Final = 0.0005
"""Seconds that a call of libcurl may take before its transfers are looked at."""

_SHARE: Final = 0.0003  # seconds of a turn of the loop for all throttled transfers
_AIM: Final = 0.0002  # seconds for the call of one
# Bytes that a transfer may read at once: of its body, or in each of up to 22 reads.
FIRST_PORTION: Final = 16_384
LEAST_PORTION: Final = 2048
_MOST: Final = 1 << 20
_COSTLY: Final = 8192  # bytes; with so small a portion, an answer is costly
_MAX_COSTLY: Final = 16_384  # addresses
_COSTLY_FOR: Final = 10.0  # seconds
_MUCH: Final = 16_384  # unread bytes with which a transfer is worth being throttled

_bytes = array.array("i", (0,))  # filled by `_unread`


class Throttled(Protocol):
    """A transfer, as the queue sees it.

    Attributes:
        multi: the multi handle that holds it.
        handle: its easy handle.
        yielded: it is paused until its turn.
        portion: bytes that it may read at once.
    """

    multi: Multi | None
    handle: EasyHandle | None
    yielded: bool
    portion: int

    @property
    def socket(self) -> int:
        """The descriptor of its connection; -1 if there is none."""

    def pause(self) -> bool:
        """Pause until its turn; False if there is nothing to pause."""

    def resume(self, limit: int) -> bool:
        """Go on, for so many bytes of the body; False if others keep it paused."""

    def restrict(self, limit: int) -> None:
        """Go on, but pause before the next piece of the body, and read little until then."""

    def lift_limit(self) -> None:
        """Go on without a limit."""

    def check_framing(self) -> None:
        """End the transfer if too little of what it reads is payload."""


class Throttle:
    """A queue of paused transfers.

    Args:
        loop: the event loop.

    Attributes:
        waiting: the transfers, in the order of their turns.
        until: when the transfer that is being served has to pause; 0.0 if none is served.
        costly: addresses whose answers took much time, each with the time until which it counts.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.waiting: dict[Throttled, None] = {}
        self.until = 0.0
        self.costly: dict[str, float] = {}
        self._fresh: list[Throttled] = []  # paused by libcurl's callback
        self._looked_at = -1  # position of the last transfer that `pause_heavy` has looked at
        self._turn = -1.0  # the turn of the loop in which some were served

    def __repr__(self) -> str:
        return f"<Throttle waiting={len(self.waiting)}>"

    def add(self, transfer: Throttled) -> None:
        """Take a transfer that pauses now, in a callback of libcurl."""
        self.waiting[transfer] = None
        self._fresh.append(transfer)

    def pause_heavy(self, transfers: Sequence[Throttled]) -> None:
        """Pause those of a long call that have much more to read.

        The search has a limit of time. It goes on after the next long call.
        """
        clock, count = self._loop.clock, len(transfers)
        until = clock() + _SHARE
        for _ in range(count):
            self._looked_at = (self._looked_at + 1) % count
            transfer = transfers[self._looked_at]
            if not transfer.yielded:
                fd = transfer.socket
                if _unread(fd) >= _MUCH and transfer.pause():
                    self._wait(transfer, fd)
            if clock() > until:
                return

    def run(self, others: Callable[[Multi], Sequence[Throttled]]) -> None:
        """Serve those whose turn it is, at least one; once in each turn of the loop.

        Args:
            others: the transfers of a multi handle.
        """
        for transfer in self._fresh:
            self._unwatch(transfer, transfer.socket)
        self._fresh.clear()
        loop, waiting = self._loop, self.waiting
        if self._turn == loop.now:
            return
        self._turn = loop.now
        now = loop.clock()
        until = now + _SHARE
        for transfer in list(waiting):
            if now >= until:
                break
            if waiting.pop(transfer, self) is self:
                continue  # it has ended meanwhile
            began, multi = now, transfer.multi
            if multi is None or not self._serve(transfer, multi, now):
                continue
            now = loop.clock()
            self._adapt(transfer, now - began)
            if transfer.portion <= _COSTLY:
                transfer.check_framing()
            if now - began > LONG_CALL:
                self.pause_heavy(others(multi))

    def _serve(self, transfer: Throttled, multi: Multi, now: float) -> bool:
        """Let a transfer read for one call; False if there was nothing to do."""
        self.until = now + _AIM
        try:
            if not transfer.resume(transfer.portion):
                return False
            multi.go_on()
        finally:
            self.until = 0.0
        fd = transfer.socket
        if transfer.yielded:
            self._unwatch(transfer, fd)
        elif _unread(fd) >= _MUCH and transfer.pause():
            self._wait(transfer, fd)
        elif transfer.portion > _COSTLY:
            transfer.lift_limit()
            if transfer.portion > FIRST_PORTION:
                self._clear(transfer.handle)
        else:
            transfer.restrict(transfer.portion)
        return True

    def _wait(self, transfer: Throttled, fd: int) -> None:
        self._unwatch(transfer, fd)
        self.waiting[transfer] = None

    def _unwatch(self, transfer: Throttled, fd: int) -> None:
        """The loop must not see its socket, which has unread bytes."""
        if transfer.multi is not None and fd >= 0:
            transfer.multi.unwatch(fd)

    def _adapt(self, transfer: Throttled, took: float) -> None:
        if took > 2 * _AIM:
            transfer.portion = max(LEAST_PORTION, transfer.portion // 2)
            if transfer.portion <= _COSTLY:
                self.note_costly(transfer.handle)
        elif took < _AIM:
            transfer.portion = min(_MOST, transfer.portion * 2)

    def note_costly(self, handle: EasyHandle | None) -> None:
        """Limit further transfers from this address from their beginning."""
        if handle is not None and handle.peer is not None:
            remember(self.costly, handle.peer, self._loop.now + _COSTLY_FOR, _MAX_COSTLY)

    def is_costly(self, addresses: Iterable[str]) -> bool:
        """Whether one of the addresses has sent costly answers in the last seconds."""
        costly, now = self.costly, self._loop.now
        for address in addresses:
            until = costly.get(address)
            if until is not None:
                if now < until:
                    return True
                del costly[address]
        return False

    def _clear(self, handle: EasyHandle | None) -> None:
        if handle is not None and handle.peer is not None:
            self.costly.pop(handle.peer, None)


def _unread(fd: int) -> int:
    """Bytes that wait in a socket."""
    if fd < 0:
        return 0
    try:
        fcntl.ioctl(fd, termios.FIONREAD, _bytes)
    except OSError:  # it is closed
        return 0
    return _bytes[0]
