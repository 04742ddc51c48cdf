"""The address of the status listener, as it is written in ``zurl.conf`` and on command lines."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from ..errors import Error
from .endpoint import MAX_SOCKET_PATH

__all__ = ["Listener", "ListenerError", "parse_listener"]

_TCP = re.compile(r"(\[[^][]+\]|[^][:/\s]*):(\d{1,5})", re.ASCII)
_ALLOWED = "an address such as 127.0.0.1:9116 or unix:/run/zurl/status"


class ListenerError(Error, ValueError):
    """A text is no address; the error says what is allowed."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen on, or to connect to.

    Attributes:
        path: of a Unix socket; "" for TCP.
        host: an IP address, without brackets; "" for Unix.
        port: 1 to 65535; 0 for Unix.
    """

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listener(text: str) -> Listener:
    """The address that ``text`` describes: ``HOST:PORT`` or ``unix:PATH``.

    The host is an IP address, IPv6 in brackets; ``localhost`` means 127.0.0.1, ``*`` 0.0.0.0.

    Raises:
        ListenerError: the text describes none.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path or len(path.encode()) > MAX_SOCKET_PATH:
            raise ListenerError(f"{_ALLOWED}; an absolute path of {MAX_SOCKET_PATH} bytes at most")
        return Listener(path=path)
    found = _TCP.fullmatch(text)
    if found is None:
        raise ListenerError(_ALLOWED)
    host = {"localhost": "127.0.0.1", "*": "0.0.0.0"}.get(found[1], found[1])
    bracketed = host.startswith("[")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ListenerError(f"{_ALLOWED}; an IP address, IPv6 in brackets") from None
    if bracketed != (address.version == 6):
        raise ListenerError(f"{_ALLOWED}; an IP address, IPv6 in brackets")
    if not 0 < int(found[2]) <= 65535:
        raise ListenerError(f"{_ALLOWED}; a port from 1 to 65535")
    return Listener(host=str(address), port=int(found[2]))
