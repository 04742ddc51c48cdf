"""One name, one look-up: transfers to a name that is being resolved wait for the first of them.

libcurl's resolver does not merge look-ups: a thousand requests to one new name would be a thousand
look-ups, on twenty threads, and every other name would queue behind them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..cache import remember

if TYPE_CHECKING:
    from .transfer import HttpTransfer

__all__ = ["NameGate"]

_KNOWN_SECONDS = 60.0  # libcurl's DNS cache holds a name as long
_MAX_KNOWN = 16_384


class NameGate:
    """The names that one multi handle has in its DNS cache, or is looking up."""

    __slots__ = ("_known", "_waiting")

    def __init__(self) -> None:
        self._known: dict[str, float] = {}  # name: until when, on the loop's clock
        self._waiting: dict[str, deque[HttpTransfer]] = {}

    def must_wait(self, name: str, transfer: HttpTransfer, now: float) -> bool:
        """True if another transfer is looking this name up; the caller's then waits here.

        False lets it go: the name is an address, known, or this transfer's to look up; for the
        last case the caller has to report the outcome through ``opened``.
        """
        if name[-1:].isdigit() or ":" in name or self._known.get(name, 0.0) > now:
            return False
        waiting = self._waiting.get(name)
        if waiting is None:
            self._waiting[name] = deque()
            transfer.resolves = name
            return False
        waiting.append(transfer)
        return True

    def opened(self, name: str, known_at: float | None) -> list[HttpTransfer]:
        """The look-up is over, with addresses at ``known_at`` or (None) without.

        Returns:
            the transfers that waited, to be started.
        """
        if known_at is not None:
            remember(self._known, name, known_at + _KNOWN_SECONDS, _MAX_KNOWN)
        return list(self._waiting.pop(name, ()))

    def pass_on(self, name: str) -> HttpTransfer | None:
        """The look-up was given up: the first who waits does it, and the others go on waiting."""
        waiting = self._waiting.get(name)
        if waiting:
            successor = waiting.popleft()
            successor.resolves = name
            return successor
        self._waiting.pop(name, None)
        return None

    def forget(self, name: str, transfer: HttpTransfer) -> None:
        """A transfer that waits for this name was cancelled."""
        waiting = self._waiting.get(name)
        if waiting and transfer in waiting:
            waiting.remove(transfer)
