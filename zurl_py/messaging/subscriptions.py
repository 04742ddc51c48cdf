"""The subscriptions of an XPUB socket, by its messages (RFC 29 of ZeroMQ)."""

from __future__ import annotations

from collections import Counter

__all__ = ["Subscriptions"]


class Subscriptions:
    """The prefixes that receivers have subscribed to.

    A prefix matches the beginning of a message: the worker's address, a space and the packet. It
    may be shorter than the address, or longer.
    """

    def __init__(self) -> None:
        self._prefixes: set[bytes] = set()
        self._lengths: Counter[int] = Counter()  # of the prefixes: only a few different ones

    def add(self, prefix: bytes) -> None:
        """Add a prefix: the first receiver has subscribed to it."""
        if prefix not in self._prefixes:
            self._prefixes.add(prefix)
            self._lengths[len(prefix)] += 1

    def discard(self, prefix: bytes) -> None:
        """Remove a prefix: no receiver is subscribed to it any more."""
        if prefix in self._prefixes:
            self._prefixes.discard(prefix)
            self._lengths[len(prefix)] -= 1
            if not self._lengths[len(prefix)]:
                del self._lengths[len(prefix)]

    def match(self, message: bytes) -> bool:
        """Whether a receiver has subscribed to a message that begins like this."""
        prefixes = self._prefixes
        return any(message[:length] in prefixes for length in self._lengths)

    def onlookers(self, address: bytes, message: bytes) -> bytes | None:
        """The longest prefix of onlookers: receivers of this message other than its worker.

        They subscribed to a part of the address, usually to everything. None where there are none,
        or where the message has no other receivers: then one of them is the worker.
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
