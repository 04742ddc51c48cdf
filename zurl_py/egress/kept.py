"""Kept connections that are of no use any more: found by their descriptors, and closed.

libcurl trusts a kept connection for a second after it last looked, and looks only when a request
starts. In that second a request is lost on a connection that its peer has closed, or gets as its
answer what came unasked, such as the 408 of a load balancer. Our epoll has seen both.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Container
from typing import Final

import pycurl

__all__ = ["SWEEP_INTERVAL", "Endpoint", "KeptConnections", "Origin", "make_sweeper"]

Origin = tuple[str, str, int]
"""Scheme, host and port of a URI."""

Endpoint = tuple[str, int]
"""Address and port of a socket."""

SWEEP_INTERVAL: Final = 1.05
"""Seconds: libcurl looks through its kept connections no more often than once a second."""

_MAX_PEERS = 16_384
_ESTABLISHED = 1  # of the states in <netinet/tcp.h>


class KeptConnections:
    """The sockets of one multi handle.

    Attributes:
        dead: our end of each kept connection that must not be used again, with its descriptor.
        hosts: descriptor to the name of the host that it was opened to.
        ends: our end of each connection that requests went by, with the origin's scheme, host and
            port.
        multiplexed: peers that speak HTTP/2, which may say something without having been asked.
    """

    __slots__ = ("_inodes", "_lost", "dead", "ends", "hosts", "multiplexed")

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost  # called with the name of a host that has given up a connection
        self.dead: dict[Endpoint, int] = {}
        self.hosts: dict[int, str] = {}
        self._inodes: dict[int, int] = {}
        self.ends: dict[Endpoint, Origin] = {}
        self.multiplexed: set[Endpoint] = set()

    def opened(self, fd: int, host: str) -> None:
        """A connection is being made to a host."""
        self.hosts[fd] = host
        self._inodes[fd] = _inode(fd)

    def signalled(self, fd: int) -> bool:
        """A kept connection became readable; whether it is dead now.

        Over HTTP/1.1 whatever comes unasked belongs to no answer (RFC 9112 section 9.2). Over TLS
        that may be a late session ticket; then a good connection is given up.
        """
        try:
            with socket.socket(fileno=os.dup(fd)) as sock:
                here = sock.getsockname()[:2]
                state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) & 0xFF
                established = state == _ESTABLISHED
                if established and sock.getpeername()[:2] in self.multiplexed:
                    return False
        except OSError:  # closed, or none of TCP: nothing that can be told apart by its end
            return False
        self.dead[here] = fd
        host = self.hosts.get(fd)
        if host is not None:
            self._lost(host)
        return True

    def used(self, here: Endpoint, origin: Origin) -> None:
        """A request goes out by this connection."""
        if len(self.ends) >= _MAX_PEERS:
            self.ends.clear()  # then some stay open until they are too old
        self.ends[here] = origin

    def keep_only(self, wanted: Callable[[Origin], bool], in_use: Container[int]) -> set[int]:
        """End the idle connections to origins that are not wanted.

        Returns:
            the descriptors of those to such origins that are in use.
        """
        leaving: set[int] = set()
        for fd in list(self.hosts):
            try:
                with socket.socket(fileno=os.dup(fd)) as sock:
                    here = sock.getsockname()[:2]
                    # Known by its end: the descriptor may be something else by now.
                    origin = self.ends.get(here)
                    if origin is None or wanted(origin):
                        continue
                    if fd in in_use:
                        leaving.add(fd)
                        continue
                    self.dead[here] = fd
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed meanwhile
                del self.hosts[fd]
        return leaving

    def speaks_http2(self, peer: Endpoint) -> None:
        """This peer may say something on a kept connection, and means nothing by it."""
        if len(self.multiplexed) >= _MAX_PEERS:
            self.multiplexed.clear()
        self.multiplexed.add(peer)

    def open(self) -> set[int]:
        """The descriptors of connections that are open; those of closed ones are forgotten."""
        for fd in [fd for fd, inode in self._inodes.items() if _inode(fd) != inode]:
            del self._inodes[fd]
            self.hosts.pop(fd, None)
        return set(self._inodes)

    def forget_closed(self) -> None:
        """libcurl has looked through its connections: keep in mind those only that it has left."""
        self.dead = {here: fd for here, fd in self.dead.items() if _is(fd, here)}


def _inode(fd: int) -> int:
    """What tells a socket from the next one with its number; 0: it is closed."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


def _is(fd: int, here: Endpoint) -> bool:
    """Whether a descriptor is still the socket with this end."""
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            return bool(sock.getsockname()[:2] == here)
    except OSError:
        return False


def make_sweeper() -> pycurl.Curl:
    """A transfer that goes nowhere, but has libcurl look through its kept connections."""
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, "http://127.0.0.1:1/")
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.NOSIGNAL, 1)
    # libcurl looks through them where it looks for one to use. There should be none for this URL.
    curl.setopt(pycurl.OPENSOCKETFUNCTION, _open_nothing)
    curl.setopt(pycurl.PREREQFUNCTION, _send_nothing)
    return curl


def _open_nothing(_purpose: int, _address: object) -> int:
    return int(pycurl.SOCKET_BAD)


def _send_nothing(*_connection: object) -> int:
    return int(pycurl.PREREQFUNC_ABORT)
