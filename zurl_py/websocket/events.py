"""Events of a WebSocket connection: what the origin has sent."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Close", "Data", "Event", "Ping", "Pong", "ProtocolViolation"]


@dataclass(slots=True)
class Data:
    """A data frame: a message, or a fragment of one; or a piece of a large frame.

    Attributes:
        payload: decompressed.
        binary: the message is binary, else text; the same in all of its fragments.
        fin: the message ends here.
        whole: this is a frame as the origin sent it; else a piece of one.
    """

    payload: bytes
    binary: bool
    fin: bool
    whole: bool = True


@dataclass(slots=True)
class Ping:
    """A ping, to be answered with a pong of the same payload."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """A pong, solicited or not."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """The origin's close frame; no event follows it.

    Attributes:
        code: None if the frame was empty.
        reason: valid UTF-8.
    """

    code: int | None
    reason: bytes


@dataclass(slots=True)
class ProtocolViolation:
    """The origin broke the protocol; no event follows this one.

    Attributes:
        code: for our close frame (RFC 6455 section 7.4.1).
        reason: what was wrong, for our close frame: ASCII, 123 bytes at most.
    """

    code: int
    reason: str


Event = Data | Ping | Pong | Close | ProtocolViolation
"""Anything that the origin has sent."""
