"""Access control for clients that are identified by their keys (CURVE)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import zmq

from ..config.curve import CurveClient

__all__ = ["REVOKED", "Access"]

_MAX_ADDRESSES: Final = 1000  # addresses that are remembered for one client
REVOKED: Final = CurveClient("", "a key that was taken back", frozenset())
"""The client of a connection whose key a reload has removed."""


class Access:
    """The clients of tcp endpoints, and the addresses (``from``) that each of them owns.

    The key that uses an address first owns it: no other key may begin or continue sessions with
    that address, or read its answers. Messages over ipc have no key and may use any address.

    Args:
        clients: clients that may connect, by public key.
    """

    def __init__(self, clients: Mapping[str, CurveClient]) -> None:
        self.clients = clients
        self._owners: dict[bytes, str] = {}
        self._owned: dict[str, OrderedDict[bytes, None]] = {}

    def identify(self, frame: zmq.Frame) -> CurveClient | None:
        """The client that has sent a message; None: it came over ipc."""
        try:
            key = frame.get("User-Id")
        except zmq.ZMQError:
            return None
        if not key:
            return None
        return self.clients.get(str(key), REVOKED)

    def may_use(self, client: CurveClient | None, address: bytes) -> bool:
        """Whether a client owns an address; one without an owner becomes the client's."""
        owner = self._owners.get(address)
        key = "" if client is None else client.key
        if client is REVOKED:
            return False
        if owner is None:
            self._own(key, address)
            return True
        if owner == key:
            self._owned[key].move_to_end(address)
            return True
        return client is None

    def _own(self, key: str, address: bytes) -> None:
        owned = self._owned.setdefault(key, OrderedDict())
        if len(owned) >= _MAX_ADDRESSES:
            forgotten, _ = owned.popitem(last=False)
            del self._owners[forgotten]
        owned[address] = None
        self._owners[address] = key
