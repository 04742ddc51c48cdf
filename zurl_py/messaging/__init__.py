"""ZeroMQ: sockets, reading and sending in batches, packets that overtook their session's first."""

from .outbox import Publisher, Replier, show_address
from .reader import SocketReader
from .reorder import ReorderBuffer
from .sockets import BindError, Endpoints

__all__ = [
    "BindError",
    "Endpoints",
    "Publisher",
    "ReorderBuffer",
    "Replier",
    "SocketReader",
    "show_address",
]
