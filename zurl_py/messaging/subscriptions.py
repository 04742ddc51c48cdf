"""Who has subscribed to what, as an XPUB socket is told (RFC 29 of ZeroMQ)."""

from __future__ import annotations

from collections import Counter

__all__ = ["Subscriptions"]


class Subscriptions:
    """The prefixes that receivers have subscribed to.

    A subscription matches what messages begin with: a worker's address, a space and the packet. It
    may be shorter than the address, and longer.
    """

    def __init__(self) -> None:
        self._prefixes: set[bytes] = set()
        self._lengths: Counter[int] = Counter()  # of the prefixes: there are but a few

    def add(self, prefix: bytes) -> None:
        """Somebody has subscribed; the first to this prefix."""
        if prefix not in self._prefixes:
            self._prefixes.add(prefix)
            self._lengths[len(prefix)] += 1

    def discard(self, prefix: bytes) -> None:
        """Nobody is subscribed to this prefix any more."""
        if prefix in self._prefixes:
            self._prefixes.discard(prefix)
            self._lengths[len(prefix)] -= 1
            if not self._lengths[len(prefix)]:
                del self._lengths[len(prefix)]

    def match(self, message: bytes) -> bool:
        """Whether somebody gets a message that begins with this."""
        prefixes = self._prefixes
        return any(message[:length] in prefixes for length in self._lengths)

    def onlookers(self, address: bytes, message: bytes) -> bytes | None:
        """The longest prefix of those that get this message without being meant.

        They subscribed to less than the address: to everything, as a rule. None where there are
        none, or where nobody else gets the message: then it is they who are meant.
        """
        size = len(address)
        if not any(
            message[:length] in self._prefixes for length in self._lengths if length >= size
        ):
            return None
        shorter = [
            length
            for length in self._lengths
            if length < size and address[:length] in self._prefixes
        ]
        return address[: max(shorter)] if shorter else None
