"""What an origin can do to a WebSocket connection, as values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Close", "Data", "Event", "Ping", "Pong", "ProtocolViolation"]


@dataclass(slots=True)
class Data:
    """A data frame: a message, or a fragment of one; of a large frame, a piece.

    Attributes:
        payload: as the origin meant it, decompressed.
        binary: of the message that the frame belongs to, in every fragment.
        fin: the message ends here.
        whole: a frame as the origin sent it; else it was cut, and may be cut again.
    """

    payload: bytes
    binary: bool
    fin: bool
    whole: bool = True


@dataclass(slots=True)
class Ping:
    """A ping; somebody has to answer it with a pong of the same payload."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """A pong, asked for or not."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """The origin's close frame: nothing follows it.

    Attributes:
        code: None if the frame was empty.
        reason: valid UTF-8.
    """

    code: int | None
    reason: bytes


@dataclass(slots=True)
class ProtocolViolation:
    """The origin broke the protocol: nothing after it is read.

    Attributes:
        code: for the close frame that tells the origin (RFC 6455 section 7.4.1).
        reason: what was wrong, in plain ASCII and fit for a close frame.
    """

    code: int
    reason: str


Event = Data | Ping | Pong | Close | ProtocolViolation
