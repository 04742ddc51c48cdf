"""ZeroMQ: sockets, reading and sending in batches, the reorder buffer, access by keys."""

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
