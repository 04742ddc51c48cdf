"""The body of a streamed request: fed and taken in pieces, and kept to be sent again if needed."""

from __future__ import annotations

from collections import deque

__all__ = ["UploadBody"]


class UploadBody:
    """The part of a body that a worker has sent, and how much of it libcurl has taken.

    Args:
        first: its first bytes.
        keeps: a body of at most this many bytes is kept, so that it can be sent again.

    Attributes:
        ended: the body is complete.
        unsent: bytes that wait to be taken.
        taken: bytes that were taken, not counted again in later attempts.
    """

    __slots__ = (
        "_discards",
        "_keeps",
        "_kept",
        "_kept_size",
        "_offset",
        "_pieces",
        "_position",
        "ended",
        "taken",
        "unsent",
    )

    def __init__(self, first: bytes, keeps: int) -> None:
        self._pieces: deque[bytes] = deque()
        self._offset = 0  # bytes of the first of these that were taken
        self._keeps = keeps
        self._kept: list[bytes] | None = []
        self._kept_size = 0
        self._position = 0  # bytes taken in this attempt
        self._discards = False
        self.ended = False
        self.unsent = 0
        self.taken = 0
        if first:
            self.feed(first)

    def __repr__(self) -> str:
        state = "ended" if self.ended else "open"
        return f"<UploadBody {state} unsent={self.unsent} taken={self.taken}>"

    def feed(self, data: bytes) -> None:
        """Add bytes to the body."""
        if not data:
            return
        if self._discards:
            self.taken += len(data)
            return
        self._pieces.append(data)
        self.unsent += len(data)
        self._kept_size += len(data)
        if self._kept is not None:
            self._kept.append(data)
            if self._kept_size > self._keeps:
                self._kept = None

    def take(self, size: int) -> bytes:
        """Take the next bytes, ``size`` at most; small pieces are joined."""
        pieces, start = self._pieces, self._offset
        data = pieces[0][start : start + size]  # bytes make no copy of the whole piece
        self.unsent -= len(data)
        if start + len(data) < len(pieces[0]):
            self._offset = start + len(data)
        else:
            pieces.popleft()
            self._offset = 0
            if pieces and len(data) + len(pieces[0]) <= size:
                data = self._joined(data, size)
        self._position += len(data)
        self.taken = max(self.taken, self._position)
        return data

    def _joined(self, data: bytes, size: int) -> bytes:
        parts, total, pieces = [data], len(data), self._pieces
        while pieces and total + len(pieces[0]) <= size:
            total += len(pieces[0])
            parts.append(pieces.popleft())
        self.unsent -= total - len(data)
        return b"".join(parts)

    def rewind(self) -> bool:
        """Start again from the first byte; False where the body was not kept."""
        if self._position:
            if self._kept is None:
                return False
            self._pieces = deque(self._kept)
            self._offset, self.unsent = 0, self._kept_size
            self._position = 0
        return True

    def keep_no_more(self) -> None:
        """Note that the body will not be sent again."""
        self._kept = None

    def discard(self) -> None:
        """Drop the body: all of it, also what is still to come, counts as taken."""
        self._discards = True
        self.taken = max(self.taken, self._position + self.unsent)
        self._pieces.clear()
        self._offset = self.unsent = 0
        self._kept = None
