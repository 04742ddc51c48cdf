"""ZHTTP without I/O: codecs, packets in, packets out, conditions."""

from .codec import Format
from .conditions import Condition
from .envelope import Envelope
from .packet import NO_USER_DATA, Packet, PacketError, parse

__all__ = ["NO_USER_DATA", "Condition", "Envelope", "Format", "Packet", "PacketError", "parse"]
