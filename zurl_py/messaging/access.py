"""Who may say what, where clients are known by their keys."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import zmq

from ..config.curve import CurveClient

__all__ = ["REVOKED", "Access"]

_MAX_ADDRESSES: Final = 1000  # addresses that are remembered for one client
REVOKED: Final = CurveClient("", "a key that was taken back", frozenset())


class Access:
    """The clients of tcp endpoints, and the addresses (``from``) that are theirs.

    An address belongs to the key that used it first: nobody else may begin sessions under it, go
    on with them, or read its answers. What comes over ipc has no key; it is the operator's own.

    Args:
        clients: who may connect, by public key.
    """

    def __init__(self, clients: Mapping[str, CurveClient]) -> None:
        self.clients = clients
        self._owners: dict[bytes, str] = {}
        self._owned: dict[str, OrderedDict[bytes, None]] = {}

    def identify(self, frame: zmq.Frame) -> CurveClient | None:
        """Who has sent a message; None: somebody over ipc."""
        try:
            key = frame.get("User-Id")
        except zmq.ZMQError:
            return None
        if not key:
            return None
        return self.clients.get(str(key), REVOKED)

    def may_use(self, client: CurveClient | None, address: bytes) -> bool:
        """Whether an address is a client's, or becomes its own now."""
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
