"""Access control for subscriptions, for clients that are identified by their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import zmq

from ..config.curve import CurveClient
from ..log import Log
from .access import Access
from .outbox import show_address

__all__ = ["Subscribers"]


class Subscribers:
    """Grants the subscriptions of an XPUB with ``XPUB_MANUAL``, of which libzmq grants none itself.

    A client with a key may subscribe to addresses that it owns, each with the space that follows it
    in a message. Connections over ipc may subscribe to anything.

    Args:
        tell: called for the first subscription to a prefix and for the end of the last, with the
            message that an XPUB without that option would give (RFC 29 of ZeroMQ).
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        access: Access,
        log: Log,
        tell: Callable[[list[bytes]], None],
    ) -> None:
        self._socket = socket
        self._access = access
        self._log = log
        self._tell = tell
        self._granted: Counter[bytes] = Counter()

    def subscription(self, frames: list[bytes], client: CurveClient | None = None) -> None:
        """Handle a message that was read from the socket. The options that grant or end a
        subscription apply to the connection whose message was read last.
        """
        kind, prefix = frames[0][:1], frames[0][1:]
        if kind == b"\1":
            self._begin(prefix, client)
        elif kind == b"\0":
            self._end(prefix)

    def _begin(self, prefix: bytes, client: CurveClient | None) -> None:
        if client is not None and not self._may_read(prefix, client):
            self._log.warning(
                f"{client.name} may not subscribe to {show_address(prefix)}: a client with a key "
                "subscribes to its own addresses, with the space behind each"
            )
            return
        self._socket.setsockopt(zmq.SUBSCRIBE, prefix)
        self._granted[prefix] += 1
        if self._granted[prefix] == 1:
            self._tell([b"\1" + prefix])

    def _end(self, prefix: bytes) -> None:
        # Also for a connection that is gone, where libzmq has done it already.
        self._socket.setsockopt(zmq.UNSUBSCRIBE, prefix)
        if self._granted[prefix] > 1:
            self._granted[prefix] -= 1
        elif self._granted.pop(prefix, 0):
            self._tell([b"\0" + prefix])

    def _may_read(self, prefix: bytes, client: CurveClient) -> bool:
        address, space, _ = prefix.partition(b" ")
        return bool(space) and self._access.may_use(client, address)
