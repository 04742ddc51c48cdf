"""The client side of WebSocket, without I/O: opening handshake, frames, state of a connection."""

from .connection import MASKS_IN_C, Connection
from .errors import BadInput
from .events import Close, Data, Event, Ping, Pong, ProtocolViolation
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
    "Handshake",
    "HandshakeError",
    "Ping",
    "Pong",
    "ProtocolViolation",
    "Response",
    "ResponseReader",
]
