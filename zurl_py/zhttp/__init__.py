"""ZHTTP without I/O, both sides of it: formats, packets, sessions, conditions."""

from .codec import Format
from .conditions import Condition
from .envelope import NO_USER_DATA, Envelope
from .json_text import JsonText
from .packet import Packet, PacketError
from .request import RequestPacket
from .response import ResponsePacket
from .session import (
    KEEP_ALIVE_INTERVAL,
    SESSION_EXPIRY,
    Endpoint,
    LocalProtocolError,
    PeerProtocolError,
    Protocol,
    Role,
    State,
)

__all__ = [
    "KEEP_ALIVE_INTERVAL",
    "NO_USER_DATA",
    "SESSION_EXPIRY",
    "Condition",
    "Endpoint",
    "Envelope",
    "Format",
    "JsonText",
    "LocalProtocolError",
    "Packet",
    "PacketError",
    "PeerProtocolError",
    "Protocol",
    "RequestPacket",
    "ResponsePacket",
    "Role",
    "State",
]
