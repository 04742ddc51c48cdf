"""WebSocket without I/O: the opening handshake, frames, and a connection's rules, as a client."""

from .connection import MASKS_IN_C, BadInput, Connection
from .events import Close, Data, Event, Failure, Ping, Pong
from .handshake import Accepted, Handshake, HandshakeError
from .response import BadResponse, Response, ResponseReader

__all__ = [
    "MASKS_IN_C",
    "Accepted",
    "BadInput",
    "BadResponse",
    "Close",
    "Connection",
    "Data",
    "Event",
    "Failure",
    "Handshake",
    "HandshakeError",
    "Ping",
    "Pong",
    "Response",
    "ResponseReader",
]
